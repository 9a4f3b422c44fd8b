"""The range of FP8 (E4M3), for both implementations that round to it."""

FP8_MAX = 448.0  # the largest number in FP8
LEAST_MAXIMUM = 1e-12  # of a row's absolute values, so that a row of zeros has a scale
