"""One folder a step of the pipelines, and what they share in common/."""

import logging

# On a processor with AVX512-BF16 it advises to install a package that would fetch code from a hub
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
