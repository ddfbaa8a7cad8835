# Made by tools/facade.py from the modules' own `__all__`.
from .torch_lr import ScheduleLR as ScheduleLR
from .handy import ProgressCB as ProgressCB
from .handy import Seconds as Seconds
from .handy import map_tensors as map_tensors
from .handy import to_cpu as to_cpu
from .handy import DeviceCB as DeviceCB
from .saving import pack as pack
from .saving import unpack as unpack
from .saving import SavableState as SavableState
from .checkpoint import FORMAT as FORMAT
from .checkpoint import CheckpointCB as CheckpointCB
from .guards import NaNGuardCB as NaNGuardCB
from .guards import EarlyStopCB as EarlyStopCB
from .guards import CSVLoggerCB as CSVLoggerCB
from .guards import TensorBoardCB as TensorBoardCB
from .scale import GradAccumCB as GradAccumCB
from .scale import GradClipCB as GradClipCB
from .scale import MixedPrecisionCB as MixedPrecisionCB
from .scale import EMACB as EMACB
from .scale import TimerCB as TimerCB
from .scale import AccelerateCB as AccelerateCB
from .fast import CompileCB as CompileCB
from .finetune import split_params as split_params
from .finetune import FreezeCB as FreezeCB
from .finetune import predict as predict
__all__: list[str]
