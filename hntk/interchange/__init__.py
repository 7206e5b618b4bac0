"""Networks on their way to other people and other programs: the Hugging Face Hub, StableHLO, and back from ONNX."""

from hntk.interchange.cards import model_card
from hntk.interchange.forward_program import ForwardProgram, import_forward
from hntk.interchange.hub import pull_from_hub, push_to_hub
from hntk.interchange.onnx_graphs import from_onnx
from hntk.interchange.stablehlo import export_forward

__all__ = [
    "ForwardProgram",
    "export_forward",
    "from_onnx",
    "import_forward",
    "model_card",
    "pull_from_hub",
    "push_to_hub",
]
