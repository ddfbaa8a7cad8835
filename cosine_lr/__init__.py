"""Learning-rate annealing, taught by building it: schedules, a training loop, a learning-rate finder"""

__version__ = "0.1.0"

from .schedule import Ramp, Schedule, constant, cosine, exponential, join, linear, polynomial, position, bind_fields, write_field
from .recipes import flat_cos, multistep, noisy, one_cycle, restarts, three_phase, triangular, warmup, warmup_cosine, wsd
from .shapes import inverse_sqrt, k_decay, noam, one_minus_sqrt, rex, tanh
from .explorer import dial, explore, explore_peaks
from .lint import Finding, lint_schedule
from .translate import overlay
from .data import DataLoaders, digits_dls, fashion_dls, tensor_loader
from .metric import Accuracy, Metric, classes
from .learner import Callback, CancelBatchException, CancelEpochException, CancelFitException, CancelStepException, Learner, MomentumCB, MomentumLearner, TrainCB, TrainLearner
from .callback import CallbackList, DeviceCB, MetricsCB, ProgressCB, RecorderCB, ScheduleCB, Seconds, SingleBatchCB, to_cpu
from .rules import Advice, agree
from .finder import LRFind, LRFinderCB, lr_find
from .post import coded_factor, four_figures, printed_factor
from .torch_lr import ScheduleLR
from .runs import Fleet
from .fleet import run_fleet
from .paired import Comparison, compare, holm
from .trial import Regime, rivals, run_regime, run_trial
from .probe import LRProbe, lr_probe
from .checkpoint import CheckpointCB
from .scale import AccelerateCB, EMACB, GradAccumCB, GradClipCB, MixedPrecisionCB, TimerCB
from .guards import CSVLoggerCB, EarlyStopCB, NaNGuardCB, TensorBoardCB
from .finetune import FreezeCB, predict, split_params
from .fast import CompileCB
from .annealing import Annealed, Annealer, anneal, metropolis, nearby, temperature_for
from .quadratic import NoisyQuadratic, best_peak, best_rates, simulate
from .search import KnotSpace, ScheduleSearch, near_point, point_of, random_point, search_schedule, searcher

__all__ = [
    'Ramp', 'Schedule', 'constant', 'cosine', 'exponential', 'join', 'linear', 'polynomial', 'position', 'bind_fields', 'write_field',
    'flat_cos', 'multistep', 'noisy', 'one_cycle', 'restarts', 'three_phase', 'triangular', 'warmup', 'warmup_cosine', 'wsd',
    'inverse_sqrt', 'k_decay', 'noam', 'one_minus_sqrt', 'rex', 'tanh',
    'dial', 'explore', 'explore_peaks',
    'Finding', 'lint_schedule', 'overlay',
    'DataLoaders', 'digits_dls', 'fashion_dls', 'tensor_loader',
    'Accuracy', 'Metric', 'classes',
    'Callback', 'CancelBatchException', 'CancelEpochException', 'CancelFitException', 'CancelStepException', 'Learner', 'MomentumCB', 'MomentumLearner', 'TrainCB', 'TrainLearner',
    'CallbackList', 'DeviceCB', 'MetricsCB', 'ProgressCB', 'RecorderCB', 'ScheduleCB', 'Seconds', 'SingleBatchCB', 'to_cpu',
    'Advice', 'agree',
    'LRFind', 'LRFinderCB', 'lr_find',
    'coded_factor', 'four_figures', 'printed_factor',
    'ScheduleLR',
    'Fleet', 'run_fleet',
    'Comparison', 'compare', 'holm',
    'Regime', 'rivals', 'run_regime', 'run_trial',
    'LRProbe', 'lr_probe',
    'CheckpointCB',
    'AccelerateCB', 'EMACB', 'GradAccumCB', 'GradClipCB', 'MixedPrecisionCB', 'TimerCB',
    'CSVLoggerCB', 'EarlyStopCB', 'NaNGuardCB', 'TensorBoardCB',
    'FreezeCB', 'predict', 'split_params',
    'CompileCB',
    'Annealed', 'Annealer', 'anneal', 'metropolis', 'nearby', 'temperature_for',
    'NoisyQuadratic', 'best_peak', 'best_rates', 'simulate',
    'KnotSpace', 'ScheduleSearch', 'near_point', 'point_of', 'random_point', 'search_schedule', 'searcher',
]
