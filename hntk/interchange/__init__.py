"""Networks on their way to other people and other programs: the Hugging Face Hub, StableHLO, and back from ONNX."""

from hntk.interchange.cards import model_card
from hntk.interchange.hub import pull_from_hub, push_to_hub
from hntk.interchange.onnx_graphs import from_onnx
from hntk.interchange.stablehlo import ForwardProgram, export_forward, import_forward

__all__ = [
    "ForwardProgram",
    "export_forward",
    "from_onnx",
    "import_forward",
    "model_card",
    "pull_from_hub",
    "push_to_hub",
]
