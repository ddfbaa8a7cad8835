"""Learning-rate annealing, taught by building it: schedules, a training loop, a learning-rate finder"""

__version__ = "0.1.0"

# Made by tools/facade.py from the modules' own `__all__`.
from importlib import import_module

def attach(package: str, rooms: dict) -> tuple: # `rooms`: {module: its names}
    "`__getattr__`, `__dir__` and `__all__` of a package whose names are imported when they are first used"
    home = {name: room for room, names in rooms.items() for name in names.split()}
    parts = {room.split('.')[0] for room in rooms}
    def __getattr__(name):
        if name in home: return getattr(import_module(f'{package}.{home[name]}'), name)
        if name in parts: return import_module(f'{package}.{name}')
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return __getattr__, lambda: [*home, *parts], [*home]

__getattr__, __dir__, __all__ = attach(__name__, {
    'schedule': 'Schedule Ramp linear cosine polynomial exponential constant join',
    'clock': 'position',
    'plan': 'Plan',
    'recipes': 'warmup_cosine warmup wsd flat_cos one_cycle restarts triangular',
    'shapes': 'base multistep',
    'data': 'tensor_loader DataLoaders digits_dls',
    'metric': 'Metric Accuracy',
    'batch': 'classes',
    'learner': 'Callback TrainCB Learner CancelStepException CancelBatchException CancelEpochException '
               'CancelFitException',
    'callback': 'ScheduleCB RecorderCB MetricsCB SingleBatchCB',
    'run.handy': 'DeviceCB ProgressCB Seconds to_cpu',
    'finder': 'LRFinderCB lr_find',
    'post': 'MomentumCB TrainLearner MomentumLearner CallbackList printed_factor coded_factor',
    'lab.fleet': 'run_fleet',
    'lab.paired': 'compare',
    'lab.trial': 'run_trial',
    'lab.annealing': 'anneal',
    'lab.search': 'search_schedule',
    'run.torch_lr': 'ScheduleLR',
    'run.checkpoint': 'CheckpointCB',
    'view.plot': 'four_figures',
    'lab.language': 'GPT text_dls',
    'lab.law': 'fit_law',
    'view': '',
})
