"""Learning-rate annealing, taught by building it: schedules, a training loop, a learning-rate finder"""

__version__ = "0.1.0"

from .schedule import Ramp, Schedule, constant, cosine, exponential, join, linear, polynomial, position, bind_fields, write_field
from .recipes import flat_cos, multistep, noisy, one_cycle, restarts, three_phase, triangular, warmup, warmup_cosine, wsd
from .shapes import inverse_sqrt, k_decay, noam, one_minus_sqrt, rex, tanh
from .lint import Finding, lint_schedule
from .translate import overlay
from .data import DataLoaders, digits_dls, fashion_dls, tensor_loader
from .metric import Accuracy, Metric, classes
from .learner import Callback, CancelBatchException, CancelEpochException, CancelFitException, Learner, MomentumCB, MomentumLearner, TrainCB, TrainLearner
from .callback import CallbackList, DeviceCB, MetricsCB, ProgressCB, RecorderCB, ScheduleCB, Seconds, SingleBatchCB, to_cpu
from .finder import LRFind, LRFinderCB, lr_find
from .post import coded_factor, four_figures, printed_factor
from .torch_lr import ScheduleLR
from .fleet import Fleet, run_fleet
from .annealing import Annealed, Annealer, anneal, metropolis, nearby, temperature_for
from .quadratic import NoisyQuadratic, best_peak, best_rates, simulate
from .search import KnotSpace, ScheduleSearch, near_point, point_of, random_point, search_schedule, searcher

__all__ = [
    'Ramp', 'Schedule', 'constant', 'cosine', 'exponential', 'join', 'linear', 'polynomial', 'position', 'bind_fields', 'write_field',
    'flat_cos', 'multistep', 'noisy', 'one_cycle', 'restarts', 'three_phase', 'triangular', 'warmup', 'warmup_cosine', 'wsd',
    'inverse_sqrt', 'k_decay', 'noam', 'one_minus_sqrt', 'rex', 'tanh',
    'Finding', 'lint_schedule', 'overlay',
    'DataLoaders', 'digits_dls', 'fashion_dls', 'tensor_loader',
    'Accuracy', 'Metric', 'classes',
    'Callback', 'CancelBatchException', 'CancelEpochException', 'CancelFitException', 'Learner', 'MomentumCB', 'MomentumLearner', 'TrainCB', 'TrainLearner',
    'CallbackList', 'DeviceCB', 'MetricsCB', 'ProgressCB', 'RecorderCB', 'ScheduleCB', 'Seconds', 'SingleBatchCB', 'to_cpu',
    'LRFind', 'LRFinderCB', 'lr_find',
    'coded_factor', 'four_figures', 'printed_factor',
    'ScheduleLR',
    'Fleet', 'run_fleet',
    'Annealed', 'Annealer', 'anneal', 'metropolis', 'nearby', 'temperature_for',
    'NoisyQuadratic', 'best_peak', 'best_rates', 'simulate',
    'KnotSpace', 'ScheduleSearch', 'near_point', 'point_of', 'random_point', 'search_schedule', 'searcher',
]
