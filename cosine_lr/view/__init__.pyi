# Made by tools/facade.py from the modules' own `__all__`.
from .plot import new_axes as new_axes
from .plot import label_lines as label_lines
from .plot import draw_schedule as draw_schedule
from .plot import four_figures as four_figures
from .plot import png as png
from .average import mean_of as mean_of
from .lint import FINDINGS as FINDINGS
from .lint import Finding as Finding
from .lint import lint_schedule as lint_schedule
from .lint import lint_plan as lint_plan
from .stored import SHAPES as SHAPES
from .stored import as_tree as as_tree
from .stored import as_json as as_json
from .stored import from_json as from_json
from .stored import from_tree as from_tree
from .stored import from_code as from_code
from .translate import Piece as Piece
from .translate import translate as translate
from .translate import overlay as overlay
from .elsewhere import PerStep as PerStep
from .elsewhere import per_step as per_step
from .elsewhere import keras_schedule as keras_schedule
from .explorer import dial as dial
from .explorer import explore as explore
from .explorer import explore_peaks as explore_peaks
from .sweep import draw_sweeps as draw_sweeps
__all__: list[str]
