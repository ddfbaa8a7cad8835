"""Write the façade, from the modules' own `__all__`: `__init__.py` and `.pyi` of the package and its wings.

The package shows the names that README and the numbered notebooks put into a reader's hands; each wing shows
all names of its modules. Names are imported when they are first used. Docstrings of exported modules get what
stands in comments on parameters (tools/explain.py). With --check, nothing is written.
"""
import argparse
import ast
import re
import sys
import textwrap
from pathlib import Path

from explain import explain

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = 'cosine_lr'

# The modules whose names the package shows, in reading order.
ROOMS = ['schedule', 'clock', 'plan', 'recipes', 'shapes', 'data', 'metric', 'batch', 'learner', 'callback',
         'run.handy', 'finder', 'post', 'lab.fleet', 'lab.paired', 'lab.trial', 'lab.annealing', 'lab.search',
         'run.torch_lr', 'run.checkpoint', 'view.plot', 'lab.language', 'lab.law']
# Of a module that has more names than a reader of the story meets, those that are shown.
CHOSEN = {
    'clock': ['position'],
    'shapes': ['base', 'multistep'],
    'learner': ['Callback', 'TrainCB', 'Learner', 'CancelStepException', 'CancelBatchException',
                'CancelEpochException', 'CancelFitException'],
    'run.handy': ['DeviceCB', 'ProgressCB', 'Seconds', 'to_cpu'],
    'lab.paired': ['compare'],
    'lab.trial': ['run_trial'],
    'lab.annealing': ['anneal'],
    'lab.search': ['search_schedule'],
    'lab.law': ['fit_law'],
    'run.checkpoint': ['CheckpointCB'],
    'view.plot': ['four_figures'],
    'lab.language': ['GPT', 'text_dls'],
}
# Modules that need an extra: their names are imported from there, so that a wing can be imported whole.
APART = {'lab.study'}
WINGS = {
    'view': ('To look at a schedule, and to say it elsewhere',
             ['plot', 'average', 'lint', 'stored', 'translate', 'elsewhere', 'explorer', 'sweep']),
    'run': ('When the run matters: other loops, checkpoints, guards, scale',
            ['torch_lr', 'handy', 'passes', 'batches', 'resume', 'files', 'saving', 'checkpoint',
             'guards', 'scale', 'fast', 'steps', 'finetune']),
    'lab': ('To find out: fleets of runs, paired trials, annealed search',
            ['runs', 'tables', 'fleet', 'stacked', 'tracing', 'paired', 'cells', 'trial', 'probe', 'search',
             'study', 'annealing', 'quadratic', 'fashion', 'language', 'language_study', 'carry', 'law',
             'logs']),
}
MAIN = '''"""`python -m cosine_lr` is the command `cosine_lr`"""

# Made by tools/facade.py.
from .cli import main

if __name__ == '__main__': raise SystemExit(main())
'''
MADE = '# Made by tools/facade.py from the modules\' own `__all__`.\n'
CORE_DOC = ('Learning-rate annealing, taught by building it: '
            'schedules, a training loop, a learning-rate finder')
ATTACH = '''
def attach(package: str, rooms: dict) -> tuple: # `rooms`: {module: its names}
    "`__getattr__`, `__dir__` and `__all__` of a package whose names are imported when they are first used"
    home = {name: room for room, names in rooms.items() for name in names.split()}
    parts = {room.split('.')[0] for room in rooms}
    def __getattr__(name):
        if name in home: return getattr(import_module(f'{package}.{home[name]}'), name)
        if name in parts: return import_module(f'{package}.{name}')
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return __getattr__, lambda: [*home, *parts], [*home]
'''.strip('\n')


def names_of(root, module):
    "The `__all__` of a module, read without importing it."
    tree = ast.parse((root/PACKAGE/f"{module.replace('.', '/')}.py").read_text(encoding='utf-8'))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '__all__':
            return ast.literal_eval(node.value)
    raise ValueError(f'{module} has no __all__')


def table(rooms):
    "The rooms as Python source, at most 110 columns."
    lines = []
    for room, names in rooms.items():
        *parts, last = textwrap.wrap(' '.join(names), 95 - len(room)) or ['']
        pieces = [repr(f'{part} ') for part in parts] + [repr(last)]
        indent = '\n' + ' '*(8 + len(room))
        lines.append(f'    {room!r}: {indent.join(pieces)},')
    return '{\n' + '\n'.join(lines) + '\n}'


def stub(rooms):
    lines = [f"from .{room} import {name} as {name}" for room, names in rooms.items() for name in names]
    return '\n'.join(lines) + '\n'


def version(root):
    return re.search(r'__version__ = .*', (root/PACKAGE/'__init__.py').read_text(encoding='utf-8'))[0]


def files(root):
    "What the façade consists of: {path from the root: text}."
    unknown = {name for room, names in CHOSEN.items() for name in names if name not in names_of(root, room)}
    if unknown: raise ValueError(f'no module exports {sorted(unknown)}')
    rooms = {room: CHOSEN.get(room) or names_of(root, room) for room in ROOMS} | {'view': []}
    head = f'{version(root)}\n\n{MADE}from importlib import import_module\n\n{ATTACH}'
    made = init(PACKAGE, CORE_DOC, head, rooms) | {
        f'{PACKAGE}/__init__.pyi': f'{MADE}{stub(rooms)}__version__: str\n__all__: list[str]\n'}
    for wing, (doc, modules) in WINGS.items():
        there = {path.stem for path in (root/PACKAGE/wing).glob('*.py')} - {'__init__'}
        if missing := there - {*modules}: raise ValueError(f'WINGS[{wing!r}] lacks {sorted(missing)}')
        rooms = {module: f'{wing}.{module}' for module in modules}
        inside = {module: [] if room in APART else names_of(root, room) for module, room in rooms.items()}
        made |= init(f'{PACKAGE}/{wing}', doc, f'{MADE}from .. import attach', inside)
        made[f'{PACKAGE}/{wing}/__init__.pyi'] = f'{MADE}{stub(inside)}__all__: list[str]\n'
    return made | {f'{PACKAGE}/__main__.py': MAIN}


def init(folder, doc, head, rooms):
    attached = f'__getattr__, __dir__, __all__ = attach(__name__, {table(rooms)})'
    return {f'{folder}/__init__.py': f'"""{doc}"""\n\n{head}\n\n{attached}\n'}


def faults(root):
    "Files of the façade that are not as they would be made."
    return [f'{name}: not what tools/facade.py makes; run make prepare' for name, text in files(root).items()
            if not (root/name).exists() or (root/name).read_text(encoding='utf-8') != text]


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('--check', action='store_true', help='write nothing; fail where a file differs')
    if parser.parse_args().check: sys.exit('\n'.join(faults(ROOT)) or 0)
    for name, text in files(ROOT).items(): (ROOT/name).write_text(text, encoding='utf-8')
    explain(ROOT, PACKAGE)


if __name__ == '__main__': main()
