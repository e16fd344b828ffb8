"""Clinadapt: train, judge and publish clinical LLM adapters. The library; it needs no Kubeflow Pipelines."""

import logging

# On a processor with AVX512-BF16 it advises to install a package that would fetch code from a hub
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
