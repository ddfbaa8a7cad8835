"""To look at a schedule, and to say it elsewhere"""

# Made by tools/facade.py from the modules' own `__all__`.
from .. import attach

__getattr__, __dir__, __all__ = attach(__name__, {
    'plot': 'new_axes label_lines draw_schedule brief text_plot four_figures png',
    'average': 'mean_of',
    'lint': 'FINDINGS Finding lint_schedule lint_plan',
    'stored': 'SHAPES as_tree as_json from_json from_tree from_code',
    'translate': 'as_code Piece translate overlay',
    'elsewhere': 'PerStep per_step keras_schedule',
    'explorer': 'dial explore explore_peaks',
    'sweep': 'draw_sweeps',
})
