"""One folder a step of the pipelines; what steps share is in the library, `clinadapt`."""
