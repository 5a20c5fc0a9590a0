"""Frameworks that own the loop, and libraries whose models are known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from modellint.facts.record import record


@record
class Framework:
    """One framework, recognised by import root."""

    name: str
    driving: frozenset[str] = frozenset()
    """Class names below it whose methods it calls with modes and gradients already set."""
    modules: frozenset[str] = frozenset()
    """Class names below it that are nn.Modules."""
    module_endings: tuple[str, ...] = ()
    """Endings of class names below it that are nn.Modules, too many to list."""
    module_packages: tuple[str, ...] = ()
    """Beginnings of dotted names whose classes are all nn.Modules."""
    hooks: frozenset[str] = frozenset()
    """Methods of a driven class that it calls itself."""

    def drives(self, dotted: str) -> bool:
        """Whether a subclass of this class leaves loop, modes and gradients to the framework."""
        return dotted.rpartition(".")[2] in self.driving

    def is_module(self, dotted: str) -> bool:
        """Whether a class is an nn.Module."""
        name = dotted.rpartition(".")[2]
        if name in self.modules or (self.module_endings and name.endswith(self.module_endings)):
            return True
        return name[:1].isupper() and dotted.startswith(self.module_packages)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LIGHTNING = Framework(
    "lightning",
    driving=_names("LightningModule LightningDataModule Callback"),
    modules=_names("LightningModule"),
    hooks=_names(
        """forward training_step validation_step test_step predict_step configure_optimizers configure_model
        optimizer_step optimizer_zero_grad backward lr_scheduler_step configure_gradient_clipping configure_callbacks
        train_dataloader val_dataloader test_dataloader predict_dataloader prepare_data setup teardown
        transfer_batch_to_device on_before_batch_transfer on_after_batch_transfer
        on_fit_start on_fit_end on_train_start on_train_end on_validation_start on_validation_end on_test_start
        on_test_end on_predict_start on_predict_end on_train_epoch_start on_train_epoch_end on_validation_epoch_start
        on_validation_epoch_end on_test_epoch_start on_test_epoch_end on_predict_epoch_start on_predict_epoch_end
        on_train_batch_start on_train_batch_end on_validation_batch_start on_validation_batch_end on_test_batch_start
        on_test_batch_end on_predict_batch_start on_predict_batch_end on_validation_model_eval
        on_validation_model_train on_test_model_eval on_test_model_train on_before_backward on_after_backward
        on_before_optimizer_step on_before_zero_grad on_save_checkpoint on_load_checkpoint
        training_epoch_end validation_epoch_end test_epoch_end training_step_end validation_step_end test_step_end"""
    ),
)
_TRANSFORMERS_HOOKS = _names(
    """compute_loss training_step prediction_step evaluation_loop prediction_loop evaluate predict log
    create_optimizer create_scheduler create_optimizer_and_scheduler get_train_dataloader get_eval_dataloader
    get_test_dataloader compute_metrics on_init_end on_train_begin on_train_end on_epoch_begin on_epoch_end
    on_step_begin on_substep_end on_step_end on_evaluate on_predict on_save on_log on_prediction_step"""
)
_TRANSFORMERS = Framework(
    "transformers",
    driving=_names("Trainer Seq2SeqTrainer TrainerCallback"),
    module_endings=(
        "PreTrainedModel", "Model", "LMHeadModel", "ForCausalLM", "ForMaskedLM", "ForConditionalGeneration",
        "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice",
        "ForNextSentencePrediction", "ForPreTraining", "ForImageClassification", "ForObjectDetection",
        "ForSemanticSegmentation", "ForAudioClassification", "ForCTC", "ForSpeechSeq2Seq", "ForVision2Seq",
    ),
    hooks=_TRANSFORMERS_HOOKS,
)  # fmt: skip
_MM_MODULES = _names(
    """BaseModel BaseModule BaseDetector BaseSegmentor BaseClassifier SingleStageDetector TwoStageDetector
    EncoderDecoder Sequential ModuleList ModuleDict BaseDecodeHead BaseDenseHead"""
)
_MMENGINE = Framework(
    "mmengine",
    driving=_names("BaseModel Runner Hook BaseDetector BaseSegmentor BaseClassifier EpochBasedRunner IterBasedRunner"),
    modules=_MM_MODULES,
    hooks=_names(
        """train_step val_step test_step loss predict forward init_weights
        before_run after_run before_train after_train before_train_epoch after_train_epoch before_train_iter
        after_train_iter before_val after_val before_val_epoch after_val_epoch before_val_iter after_val_iter
        before_test after_test before_test_epoch after_test_epoch before_test_iter after_test_iter"""
    ),
)

FRAMEWORKS: Mapping[str, Framework] = {
    "pytorch_lightning": _LIGHTNING,
    "lightning": _LIGHTNING,
    "lightning_fabric": _LIGHTNING,
    "pl_bolts": _LIGHTNING,
    "transformers": _TRANSFORMERS,
    "sentence_transformers": Framework(
        "transformers",
        driving=_names("SentenceTransformerTrainer CrossEncoderTrainer"),
        modules=_names("SentenceTransformer CrossEncoder"),
        hooks=_TRANSFORMERS_HOOKS,
    ),
    "trl": Framework(
        "transformers",
        driving=_names(
            """SFTTrainer DPOTrainer PPOTrainer GRPOTrainer KTOTrainer ORPOTrainer CPOTrainer BCOTrainer RewardTrainer
            RLOOTrainer IterativeSFTTrainer OnlineDPOTrainer"""
        ),
        modules=_names("AutoModelForCausalLMWithValueHead AutoModelForSeq2SeqLMWithValueHead"),
        hooks=_TRANSFORMERS_HOOKS,
    ),
    "peft": Framework("transformers", modules=_names("PeftModel"), module_packages=("peft.PeftModelFor",)),
    "diffusers": Framework("diffusers", modules=_names("ModelMixin"), module_endings=("Model",)),
    "accelerate": Framework("accelerate"),
    "fastai": Framework(
        "fastai",
        driving=_names("Learner Callback"),
        modules=_names("Module"),
        hooks=_names(
            """before_fit after_fit before_epoch after_epoch before_train after_train before_validate after_validate
            before_batch after_batch after_pred after_loss before_backward after_backward before_step after_step
            after_cancel_fit after_cancel_batch"""
        ),
    ),
    "ignite": Framework("ignite", driving=_names("Engine"), hooks=_names("reset update compute attach")),
    "skorch": Framework(
        "skorch",
        driving=_names("NeuralNet NeuralNetClassifier NeuralNetBinaryClassifier NeuralNetRegressor Callback"),
        hooks=_names(
            """get_loss train_step train_step_single validation_step evaluation_step infer run_single_epoch
            initialize_module initialize_criterion initialize_optimizer on_train_begin on_train_end on_epoch_begin
            on_epoch_end on_batch_begin on_batch_end on_grad_computed"""
        ),
    ),
    "composer": Framework(
        "composer",
        driving=_names("ComposerModel HuggingFaceModel ComposerClassifier Algorithm Callback"),
        modules=_names("ComposerModel HuggingFaceModel ComposerClassifier"),
        hooks=_names("forward loss eval_forward get_metrics update_metric metrics apply match"),
    ),
    "mmengine": _MMENGINE,
    "mmcv": _MMENGINE,
    "mmdet": _MMENGINE,
    "mmseg": _MMENGINE,
    "mmpretrain": _MMENGINE,
    "mmcls": _MMENGINE,
    "catalyst": Framework(
        "catalyst",
        driving=_names("Runner IRunner CustomRunner SupervisedRunner Callback"),
        hooks=_names(
            """handle_batch predict_batch on_experiment_start on_experiment_end on_epoch_start on_epoch_end
            on_loader_start on_loader_end on_batch_start on_batch_end"""
        ),
    ),
    "deepspeed": Framework("deepspeed", modules=_names("PipelineModule")),
    "colossalai": Framework("colossalai"),
    "horovod": Framework("horovod"),
    "megatron": Framework("megatron", modules=_names("MegatronModule")),
    "fairscale": Framework("fairscale"),
    "fairseq": Framework(
        "fairseq",
        driving=_names("FairseqTask FairseqCriterion LegacyFairseqTask LegacyFairseqCriterion"),
        modules=_names(
            """BaseFairseqModel FairseqEncoderDecoderModel FairseqLanguageModel FairseqEncoder FairseqDecoder
            FairseqIncrementalDecoder FairseqCriterion LegacyFairseqCriterion"""
        ),
        hooks=_names("train_step valid_step inference_step forward reduce_metrics build_model build_criterion"),
    ),
    "allennlp": Framework(
        "allennlp",
        driving=_names("Model TrainerCallback"),
        modules=_names("Model"),
        hooks=_names("forward get_metrics"),
    ),
    "speechbrain": Framework(
        "speechbrain",
        driving=_names("Brain"),
        hooks=_names("compute_forward compute_objectives fit_batch evaluate_batch on_stage_start on_stage_end"),
    ),
    "detectron2": Framework(
        "detectron2",
        driving=_names("DefaultTrainer SimpleTrainer TrainerBase HookBase"),
        modules=_names("GeneralizedRCNN Backbone ROIHeads"),
        hooks=_names(
            """build_model build_optimizer build_train_loader run_step before_train after_train before_step
            after_step"""
        ),
    ),
    "ultralytics": Framework(
        "ultralytics", driving=_names("BaseTrainer BaseValidator BasePredictor DetectionTrainer DetectionValidator")
    ),
    "torchmetrics": Framework(
        "torchmetrics", modules=_names("Metric MetricCollection"), hooks=_names("update compute")
    ),
    "torch_geometric": Framework(
        "torch_geometric",
        modules=_names("MessagePassing Aggregation"),
        module_packages=("torch_geometric.nn.",),
    ),
    "dgl": Framework("dgl", module_packages=("dgl.nn.",)),
    "timm": Framework("timm", module_packages=("timm.models.", "timm.layers.")),
    "torchvision": Framework("torchvision", module_packages=("torchvision.models.", "torchvision.ops.")),
    "segmentation_models_pytorch": Framework(
        "segmentation_models_pytorch", module_packages=("segmentation_models_pytorch.",)
    ),
    "opacus": Framework("opacus"),
    "pykeen": Framework(
        "pykeen",
        driving=_names("TrainingLoop SLCWATrainingLoop LCWATrainingLoop Evaluator"),
        modules=_names("Model ERModel Interaction Representation Regularizer Loss"),
    ),
    "torchtnt": Framework(
        "torchtnt",
        driving=_names("AutoUnit TrainUnit EvalUnit PredictUnit Callback"),
        hooks=_names(
            """train_step eval_step predict_step compute_loss configure_optimizers_and_lr_scheduler on_train_start
            on_train_end on_train_epoch_start on_train_epoch_end on_eval_start on_eval_end"""
        ),
    ),
    "keras": Framework("keras", driving=_names("Model"), hooks=_names("call train_step test_step predict_step")),
}
"""Frameworks by import root."""


@lru_cache(maxsize=4096)
def framework_of(dotted: str) -> Framework | None:
    """The framework that a dotted name belongs to."""
    return FRAMEWORKS.get(dotted.partition(".")[0])


@record
class KnownModel:
    """A model that a library constructs."""

    mode_dependent: bool | None
    """None: that depends on the arguments."""
    likely: bool = False
    """Where it is not known: nearly all that it can be depend on the mode."""
    varied: bool = False
    """It stands for many models, some of them without any layer that depends on the mode."""
    detector: bool = False
    """Its outputs in train mode are losses, in eval mode predictions: it is evaluated in train mode on purpose."""


_IMAGES = """alexnet convnext_tiny convnext_small convnext_base convnext_large densenet121 densenet161 densenet169
densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
efficientnet_b6 efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l googlenet inception_v3 maxvit_t
mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large regnet_y_400mf
regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf regnet_y_128gf regnet_x_400mf
regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf regnet_x_16gf regnet_x_32gf resnet18 resnet34 resnet50
resnet101 resnet152 resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2
shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_t swin_s
swin_b swin_v2_t swin_v2_s swin_v2_b vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn"""
# Dropout of the plain vision transformers is 0 by default; the small RAFT has instance norms only.
_PLAIN = "vit_b_16 vit_b_32 vit_l_16 vit_l_32 vit_h_14 optical_flow.raft_small"
_SEGMENTATION = """fcn_resnet50 fcn_resnet101 deeplabv3_resnet50 deeplabv3_resnet101 deeplabv3_mobilenet_v3_large
lraspp_mobilenet_v3_large"""
_VIDEO = "r3d_18 mc3_18 r2plus1d_18 s3d mvit_v1_b mvit_v2_s swin3d_t swin3d_s swin3d_b"
_QUANTIZED = """googlenet inception_v3 mobilenet_v2 mobilenet_v3_large resnet18 resnet50 resnext101_32x8d
resnext101_64x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0"""
_DETECTION = """fasterrcnn_resnet50_fpn fasterrcnn_resnet50_fpn_v2 fasterrcnn_mobilenet_v3_large_fpn
fasterrcnn_mobilenet_v3_large_320_fpn fcos_resnet50_fpn retinanet_resnet50_fpn retinanet_resnet50_fpn_v2 ssd300_vgg16
ssdlite320_mobilenet_v3_large maskrcnn_resnet50_fpn maskrcnn_resnet50_fpn_v2 keypointrcnn_resnet50_fpn"""
_DETECTOR_CLASSES = "FasterRCNN MaskRCNN KeypointRCNN RetinaNet FCOS SSD"
# Their decoders hold BatchNorm by default.
_SMP = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet PAN DeepLabV3 DeepLabV3Plus UPerNet Segformer create_model"

_MODE, _SAME, _OPEN, _DETECTOR = KnownModel(True), KnownModel(False), KnownModel(None), KnownModel(True, detector=True)
ZOO_MODEL = "torchvision.models.torchvision model"
"""What `torchvision.models.__dict__[name]` and `getattr(torchvision.models, name)` make, for a name that is not known:
one of the image models, whose names alone stand there. All but the plain vision transformers depend on the mode."""
KNOWN_MODELS: Mapping[str, KnownModel] = {
    **{f"torchvision.models.{name}": _MODE for name in _IMAGES.split()},
    **{f"torchvision.models.{name}": _SAME for name in _PLAIN.split()},
    **{f"torchvision.models.segmentation.{name}": _MODE for name in _SEGMENTATION.split()},
    **{f"torchvision.models.video.{name}": _MODE for name in _VIDEO.split()},
    **{f"torchvision.models.quantization.{name}": _MODE for name in _QUANTIZED.split()},
    **{f"torchvision.models.detection.{name}": _DETECTOR for name in f"{_DETECTION} {_DETECTOR_CLASSES}".split()},
    "torchvision.models.optical_flow.raft_large": _MODE,
    "torchvision.models.get_model": _OPEN,
    ZOO_MODEL: KnownModel(None, likely=True),
    **{f"segmentation_models_pytorch.{name}": _MODE for name in _SMP.split()},
    "timm.create_model": _OPEN,
    "timm.models.create_model": _OPEN,
    "transformers.*": KnownModel(True, varied=True),
}
"""Constructors by dotted name; `transformers.*` stands for every `from_pretrained` of a model, which returns it in eval
mode. GoogLeNet and Inception also return other outputs in train mode."""
