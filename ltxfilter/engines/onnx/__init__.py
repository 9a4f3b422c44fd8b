"""The engine `onnx`: published two-frame networks through ONNX Runtime, which only this imports."""
