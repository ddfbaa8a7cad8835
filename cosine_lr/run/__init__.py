"""When the run matters: other loops, checkpoints, guards, scale"""

# Made by tools/facade.py from the modules' own `__all__`.
from .. import attach

__getattr__, __dir__, __all__ = attach(__name__, {
    'torch_lr': 'ScheduleLR',
    'handy': 'ProgressCB Seconds Perplexity map_tensors to_cpu DeviceCB',
    'passes': 'Passes',
    'batches': 'batch_sizes GrowingBatches growing_loader',
    'resume': 'POLICIES Line plan_terms plan_state resume_plan',
    'files': 'aside replace_file has_ranks rank columns_of csv_lines write_table',
    'saving': 'pack unpack are_simple snapshot SavableState',
    'checkpoint': 'FORMAT compact expanded write_state newest_first read_state newest take describe_data '
                  'named_cbs FitState opt_settings CheckpointCB',
    'guards': 'ScalerCB NaNGuardCB EarlyStopCB Plateau PlateauCB CSVLoggerCB LoggerCB TensorBoardCB',
    'scale': 'GradAccumCB GradClipCB MixedPrecisionCB EMACB TimerCB AccelerateCB',
    'fast': 'CompileCB',
    'steps': 'ClosureCB SAMCB ScheduleFreeCB JoinedOptimizer',
    'finetune': 'split_params decay_groups layer_groups FreezeCB predict',
})
