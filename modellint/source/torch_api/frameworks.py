"""Frameworks that own the loop, and libraries whose models are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Framework:
    """One framework, recognised by import root."""

    name: str
    driving: frozenset[str] = frozenset()
    """Class names below it whose methods it calls with modes and gradients already set."""
    modules: frozenset[str] = frozenset()
    """Class names below it that are nn.Modules, besides the driving ones."""

    def drives(self, dotted: str) -> bool:
        """Whether a subclass of this class leaves loop, modes and gradients to the framework."""
        return dotted.rpartition(".")[2] in self.driving

    def is_module(self, dotted: str) -> bool:
        """Whether a class is an nn.Module."""
        name = dotted.rpartition(".")[2]
        return name in self.modules or name in self.driving and name.endswith("Module")


_LIGHTNING = Framework("lightning", frozenset({"LightningModule", "LightningDataModule", "Callback"}))
_ROOTS: Mapping[str, Framework] = {
    "pytorch_lightning": _LIGHTNING,
    "lightning": _LIGHTNING,
    "lightning_fabric": _LIGHTNING,
    "transformers": Framework(
        "transformers", frozenset({"Trainer", "Seq2SeqTrainer", "TrainerCallback"}), frozenset({"PreTrainedModel"})
    ),
    "accelerate": Framework("accelerate"),
    "fastai": Framework("fastai", frozenset({"Learner", "Callback"}), frozenset({"Module"})),
    "ignite": Framework("ignite", frozenset({"Engine"})),
    "skorch": Framework("skorch", frozenset({"NeuralNet", "NeuralNetClassifier", "NeuralNetRegressor"})),
    "composer": Framework("composer", frozenset({"ComposerModel", "Algorithm"}), frozenset({"ComposerModel"})),
    "mmengine": Framework("mmengine", frozenset({"BaseModel", "Runner", "Hook"}), frozenset({"BaseModel", "BaseModule"})),
    "mmcv": Framework("mmengine", frozenset(), frozenset({"BaseModule"})),
    "catalyst": Framework("catalyst", frozenset({"Runner", "Callback"})),
    "deepspeed": Framework("deepspeed"),
    "horovod": Framework("horovod"),
    "torchmetrics": Framework("torchmetrics", frozenset(), frozenset({"Metric"})),
    "torch_geometric": Framework("torch_geometric", frozenset(), frozenset({"MessagePassing", "Aggregation"})),
    "timm": Framework("timm"),
    "sentence_transformers": Framework("transformers", frozenset({"SentenceTransformerTrainer"})),
    "trl": Framework("transformers", frozenset({"SFTTrainer", "DPOTrainer", "PPOTrainer"})),
    "opacus": Framework("opacus"),
    "pykeen": Framework("pykeen", frozenset({"TrainingLoop"})),
    "torchtnt": Framework("torchtnt", frozenset({"AutoUnit", "TrainUnit", "EvalUnit"})),
    "keras": Framework("keras", frozenset({"Model"})),
}


@lru_cache(maxsize=4096)
def framework_of(dotted: str) -> Framework | None:
    """The framework that a dotted name belongs to."""
    return _ROOTS.get(dotted.partition(".")[0])


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that a library constructs."""

    mode_dependent: bool
    detector: bool = False
    """Its outputs in train mode are losses, in eval mode predictions: it is evaluated in train mode on purpose."""


_TORCHVISION_MODE = """alexnet convnext_tiny convnext_small convnext_base convnext_large densenet121 densenet161 densenet169
densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6
efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l googlenet inception_v3 maxvit_t mnasnet0_5 mnasnet0_75
mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large regnet_y_400mf regnet_y_800mf regnet_y_1_6gf
regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf regnet_y_128gf regnet_x_400mf regnet_x_800mf regnet_x_1_6gf
regnet_x_3_2gf regnet_x_8gf regnet_x_16gf regnet_x_32gf resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d
resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2 shufflenet_v2_x0_5 shufflenet_v2_x1_0
shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_t swin_s swin_b swin_v2_t swin_v2_s swin_v2_b vgg11
vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn"""
_TORCHVISION_SEGMENTATION = "fcn_resnet50 fcn_resnet101 deeplabv3_resnet50 deeplabv3_resnet101 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large"
_TORCHVISION_DETECTION = """fasterrcnn_resnet50_fpn fasterrcnn_resnet50_fpn_v2 fasterrcnn_mobilenet_v3_large_fpn
fasterrcnn_mobilenet_v3_large_320_fpn fcos_resnet50_fpn retinanet_resnet50_fpn retinanet_resnet50_fpn_v2 ssd300_vgg16
ssdlite320_mobilenet_v3_large maskrcnn_resnet50_fpn maskrcnn_resnet50_fpn_v2 keypointrcnn_resnet50_fpn"""
# Dropout of the plain vision transformers is 0 by default: they do not depend on the mode.
_TORCHVISION_PLAIN = "vit_b_16 vit_b_32 vit_l_16 vit_l_32 vit_h_14"

KNOWN_MODELS: Mapping[str, KnownModel] = {
    **{f"torchvision.models.{name}": KnownModel(True) for name in _TORCHVISION_MODE.split()},
    **{f"torchvision.models.{name}": KnownModel(False) for name in _TORCHVISION_PLAIN.split()},
    **{f"torchvision.models.segmentation.{name}": KnownModel(True) for name in _TORCHVISION_SEGMENTATION.split()},
    **{f"torchvision.models.detection.{name}": KnownModel(True, True) for name in _TORCHVISION_DETECTION.split()},
    "transformers.*": KnownModel(True),
}
"""Constructors by dotted name. GoogLeNet and Inception also return other outputs in train mode."""
