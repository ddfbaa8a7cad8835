"""The notebooks: where they are, which cells run, what makes one ready to be committed, and a run of all."""
import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from configparser import ConfigParser
from pathlib import Path

from progress import Progress

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = 'cosine_lr'
MAX_KB = 400
WIDGET = 'application/vnd.jupyter.widget-view+json'
PATH = re.compile(r'/(?:[\w.-]+/)+[\w-]+\.py:\d+')  # as a warning or a traceback begins with
WIDGET_AS_TEXT = re.compile(
    r'Error displaying widget|Loading widget|^(HBox|VBox|Box|Output|interactive|\w*(Slider|Progress|Text))\(',
    re.MULTILINE)
# What git leaves behind, and what nbdev's merge driver makes of it: a cell of its own.
CONFLICT = re.compile(r'^`?(<{7}|={7}|>{7})( .*)?`?$', re.MULTILINE)


def notebooks(root):
    "Every notebook under nbs/, but for those in, or with, a name that starts with an underscore or a dot."
    base = root/'nbs'
    return sorted(path for path in base.rglob('*.ipynb')
                  if not any(part[0] in '_.' for part in path.relative_to(base).parts))


def named(paths, names):
    "The notebooks of these names, without .ipynb; all if there are none."
    unknown = [name for name in names if name not in {path.stem for path in paths}]
    if unknown: raise ValueError(f'no notebook is called {unknown[0]}')
    return [path for path in paths if not names or path.stem in names]


def load(path): return json.loads(path.read_text(encoding='utf-8'))


def source(cell): return ''.join(cell['source'])


def code_cells(nb): return [cell for cell in nb['cells'] if cell['cell_type'] == 'code']


def settings(root):
    config = ConfigParser(delimiters=['='])
    config.read(root/'settings.ini', encoding='utf-8')
    return config['DEFAULT']


# --- ready to be committed ---

def same_names(paths):
    "Reports and tools go by a notebook's name alone."
    counts = Counter(path.name for path in paths)
    return [f'{name}: {count} notebooks have this name' for name, count in counts.items() if count > 1]


def not_ready(nb):
    "What is wrong with a notebook, as its readers see it."
    for cell in nb['cells']:
        if CONFLICT.search(source(cell)): yield f"cell {cell['id']} holds the marks of a conflict"
    cells = code_cells(nb)
    if not cells or '%pip install' not in source(cells[0]):
        yield 'the first cell does not install cosine_lr where it is missing, as in Colab'
    if cells and not any(cell['outputs'] for cell in cells): yield 'no cell has an output: commit it executed'
    for cell in cells: yield from (f"cell {cell['id']} {fault}" for fault in faults_of_outputs(cell))


def faults_of_outputs(cell):
    if any(output['output_type'] == 'error' for output in cell['outputs']): yield 'ended in an error'
    for output in cell['outputs']:
        if PATH.search(''.join(output.get('text', ''))): yield 'prints the path of a file on one machine'
    for data in (output.get('data', {}) for output in cell['outputs']):
        if WIDGET in data or WIDGET_AS_TEXT.search(''.join(data.get('text/plain', ''))):
            yield 'holds a widget, which is raw text on GitHub: make prepare keeps a picture of it'
    if not cell['outputs'] and is_evaluated(cell) and prints(source(cell)): yield 'prints, but has no output'


def prints(code):
    "Is there a print(…) among the cell's top-level statements?"
    try: tree = ast.parse(code)
    except SyntaxError: return False  # a magic
    alone = [node.value for node in tree.body if isinstance(node, ast.Expr)]
    return any(isinstance(x, ast.Call) and getattr(x.func, 'id', '') == 'print' for x in alone)


# --- run ---

def flags(cell): return set(re.findall(r'^#\s*\|\s*(.+?)\s*$', source(cell), re.MULTILINE))


def is_evaluated(cell, skip=frozenset()):
    "Would nbdev_test run this cell? `skip` holds settings.ini's tst_flags."
    told = {re.sub(r'\s', '', flag).lower() for flag in flags(cell)}
    return bool(source(cell).strip()) and not told & {'eval:false', *skip}


def tool(name, *args, root, **more):
    "Start a command of this Python's environment in `root`; one that is missing raises FileNotFoundError."
    env = os.environ | dict(OMP_NUM_THREADS='1', PYTHONUNBUFFERED='1') | more
    env.pop('IN_TEST', None)  # under it, nbdev_export does nothing
    command = [Path(sys.executable).parent/name, *args]
    return subprocess.Popen([str(word) for word in command], cwd=root, env=env, text=True, encoding='utf-8',
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run_notebooks(root, workers, command='nbdev_test', **env):
    "Run each by nbdev_test, in nbdev 3 nbdev-test: the names of those that passed, and why others did not."
    paths, skip = notebooks(root), set(settings(root)['tst_flags'].split())
    dash = '-' if '-' in command else '_'
    process = tool(command, f'--do{dash}print', f'--n{dash}workers', workers, root=root, **env)
    with Progress(len(paths), 'notebooks', each=True) as progress:
        started, failed = followed(process, progress)
    status, reasons = process.returncode, {}
    for path in paths:
        if path.name in failed: reasons[path.name] = 'a cell failed'
        elif path.name not in started: reasons[path.name] = 'did not run (skip_exec?)'
        elif not any(is_evaluated(cell, skip) for cell in code_cells(load(path))):
            reasons[path.name] = 'has no cell that is evaluated'
        elif status and not failed: reasons[path.name] = f'{command} ended with status {status}'
    return {path.name for path in paths} - reasons.keys(), reasons


def followed(process, progress):
    "Watch nbdev_test to its end: the names of the notebooks that it began, and of those that failed."
    started, failed, reporting = set(), set(), False
    for line in process.stdout:
        marks = re.findall(r'(Starting|Completed) (.*?)\.ipynb', line)  # two workers may share a line
        for mark, path in marks:
            name = Path(path).name
            if mark == 'Starting': started.add(f'{name}.ipynb')
            (progress.begin if mark == 'Starting' else progress.end)(name)
        if line.startswith('nbdev Tests Failed'): reporting = True
        elif reporting and (match := re.fullmatch(r'\s+(\S.*\.ipynb)', line.rstrip())): failed.add(match[1])
        if not marks and line.strip() != 'Success.': print(line, end='', flush=True)
    process.wait()
    return started, failed
