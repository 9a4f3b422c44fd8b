# ltxfilter for NVIDIA GPUs, with the engines of LTX-2 and ONNX:
#   docker build -f docker/cuda.Dockerfile -t ltxfilter:cuda .
# torch brings CUDA; the host has the driver and the NVIDIA Container Toolkit.
FROM python:3.12-slim-bookworm
# Triton compiles a launcher for each kernel when it is first used, with a C compiler.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY ltxfilter ltxfilter
# hadolint ignore=DL3013
RUN LTXFILTER_REQUIRE_KERNELS=1 pip install --no-cache-dir ".[ltx,gguf]" "onnxruntime-gpu>=1.20.1,<2" \
    && rm -rf /source/*
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    LTXFILTER_MODELS=/models
VOLUME /models
WORKDIR /video
ENTRYPOINT ["ltxfilter"]
