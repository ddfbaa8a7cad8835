"""To find out: fleets of runs, paired trials, annealed search"""

# Made by tools/facade.py from the modules' own `__all__`.
from .. import attach

__getattr__, __dir__, __all__ = attach(__name__, {
    'runs': 'Runs',
    'tables': 'markdown_table',
    'fleet': 'run_fleet',
    'stacked': 'stack_models StackedSGD StackedAdam stacked_optimizer member_columns',
    'tracing': 'traceable traced compiled',
    'paired': 'Comparison compare plan_trial holm',
    'cells': 'Question Cell answer_here Shelf answer_all processes',
    'trial': 'rivals Regime run_regime scores_over_splits run_trial',
    'probe': 'LRProbe lr_probe',
    'search': 'KnotSpace LineSpace random_point near_point point_of searcher ScheduleSearch '
              'search_schedule',
    'study': '',
    'annealing': 'metropolis temperature_for Annealed Annealer anneal nearby',
    'quadratic': 'NoisyQuadratic simulate best_rates best_peak',
    'fashion': 'fashion_dls',
    'language': 'Vocabulary TextLoaders text_dls Attention Block GPT next_char_loss sample SampleCB',
    'language_study': 'REPORT tuned_peaks tuned_peak study_losses',
    'carry': 'Scores carry_scores',
    'law': 'Forecast BestSchedule LossLaw fit_law',
    'logs': 'read_log',
})
