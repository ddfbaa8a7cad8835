"""Every check of the repository but the slow tests, in order; the last line counts the notebooks that ran: `N passed, M failed`.

Name one or more checks to run only those: `python tools/test.py arrows readme`.
"""
import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from configparser import ConfigParser
from pathlib import Path

import facade
import readme

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = 'cosine_lr'
MAX_NOTEBOOK_KB = 400
ANY = object()
WIDGET = 'application/vnd.jupyter.widget-view+json'
WIDGET_AS_TEXT = re.compile(r'Error displaying widget|Loading widget|^(HBox|VBox|Box|Output|interactive|\w*(Slider|Progress|Text))\(', re.MULTILINE)

# Which of our modules each of our modules may import.
ARROWS = {
    'check': set(),
    'torch_inside': set(),
    'schedule': {'view.lint', 'view.plot', 'view.translate'},
    'plan': set(),
    'shapes': {'schedule'},
    'recipes': {'schedule'},
    'data': set(),
    'metric': set(),
    'learner': set(),
    'callback': {'learner', 'metric', 'plan', 'view.lint', 'view.plot'},
    'rules': set(),
    'state': set(),
    'finder': {'callback', 'learner', 'plan', 'rules', 'schedule', 'view.plot'},
    'post': {'callback', 'finder', 'schedule', 'view.plot'},
    'view.plot': set(),
    'view.lint': set(),
    'view.translate': {'view.plot'},
    'view.explorer': {'recipes', 'schedule', 'view.plot'},
    'run.torch_lr': {'plan', 'schedule', 'view.plot'},
    'run.saving': {'state'},
    'run.checkpoint': {'callback', 'learner', 'plan', 'run.torch_lr'},
    'run.scale': {'callback', 'learner'},
    'run.guards': {'callback', 'learner', 'plan', 'run.checkpoint'},
    'run.finetune': {'callback', 'learner'},
    'run.fast': {'callback', 'learner'},
    'lab.probe': {'lab.fleet', 'rules', 'schedule', 'view.plot'},
    'lab.runs': {'view.plot'},
    'lab.stacked': set(),
    'lab.tracing': set(),
    'lab.fleet': {'lab.runs', 'lab.stacked', 'lab.tracing', 'plan'},
    'lab.paired': {'lab.runs'},
    'lab.trial': {'data', 'lab.fleet', 'lab.paired', 'lab.runs', 'post', 'recipes', 'schedule', 'view.plot'},
    'lab.annealing': {'plan', 'schedule', 'view.plot'},
    'lab.quadratic': {'plan'},
    'lab.study': {'lab.annealing', 'plan', 'schedule'},
    'lab.search': {'data', 'lab.annealing', 'lab.fleet', 'lab.paired', 'lab.study', 'schedule', 'view.plot'},
    'view': {'__init__'},
    'run': {'__init__'},
    'lab': {'__init__'},
    'cli': ANY,
    '__init__': set(),
}


def notebooks(root):
    base = root/'nbs'
    return sorted(path for path in base.rglob('*.ipynb')
                  if not any(part[0] in '_.' for part in path.relative_to(base).parts))


def modules(root):
    return sorted(path for path in (root/PACKAGE).rglob('*.py') if path.name != '_modidx.py')


def tool(name, *args, root, **kwargs):
    "Start a command of this Python's environment in `root`; one that is missing raises FileNotFoundError."
    env = {key: value for key, value in os.environ.items() if key != 'IN_TEST'}  # under IN_TEST, nbdev_export does nothing
    env.update(OMP_NUM_THREADS='1', PYTHONUNBUFFERED='1')
    return subprocess.Popen([str(Path(sys.executable).parent/name), *args], cwd=root, env=env, text=True, encoding='utf-8',
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)


def output_of(name, *args, root):
    "What a tool printed, and a line for its exit status unless that was 0."
    process = tool(name, *args, root=root)
    text, _ = process.communicate()
    return text, [f'{name} ended with status {process.returncode}:\n{text}'] if process.returncode else []


def copy_tree(root, to):
    "What nbdev needs of the repository."
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(root/name, to)
    for name in ('nbs', PACKAGE):
        shutil.copytree(root/name, to/name, ignore=shutil.ignore_patterns('__pycache__', '.*'))


# --- the checks: each takes the root and returns its faults, a line each ---

def clean(root):
    "Notebooks are clean, executed and small, and open anywhere"
    faults = []
    for path in notebooks(root):
        if (kb := path.stat().st_size/1000) > MAX_NOTEBOOK_KB: faults.append(f'{path.name}: {kb:.0f} KB, over {MAX_NOTEBOOK_KB}')
        faults += [f'{path.name}: {fault}' for fault in not_ready(json.loads(path.read_text(encoding='utf-8')))]
    with tempfile.TemporaryDirectory() as tmp:
        copy_tree(root, copy := Path(tmp))
        _, failed = output_of('nbdev_clean', root=copy)
        faults += failed
        faults += [f'{path.name}: not clean; run nbdev_clean' for path in notebooks(root)
                   if (copy/path.relative_to(root)).read_bytes() != path.read_bytes()]
    return faults


def not_ready(nb):
    cells = [cell for cell in nb['cells'] if cell['cell_type'] == 'code']
    if not cells or '%pip install' not in ''.join(nb['cells'][0]['source']): yield 'the first cell does not install cosine_lr where it is missing, as in Colab'
    if cells and not any(cell['outputs'] for cell in cells): yield 'no cell has an output: commit it executed'
    for cell in cells:
        if any(output['output_type'] == 'error' for output in cell['outputs']): yield f"cell {cell['id']} ended in an error"
        for data in (output.get('data', {}) for output in cell['outputs']):
            if WIDGET in data or WIDGET_AS_TEXT.search(''.join(data.get('text/plain', ''))): yield f"cell {cell['id']} holds a widget, which is raw text on GitHub: make prepare keeps a picture of it"
        if not cell['outputs'] and is_evaluated(cell) and prints(''.join(cell['source'])): yield f"cell {cell['id']} prints, but has no output"


def prints(source):
    "Is there a print(…) among the cell's top-level statements?"
    try: tree = ast.parse(source)
    except SyntaxError: return False  # a magic
    return any(isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and getattr(node.value.func, 'id', '') == 'print'
               for node in tree.body)


def export(root):
    "Modules are what the notebooks export"
    with tempfile.TemporaryDirectory() as tmp:
        copy_tree(root, copy := Path(tmp))
        for path in (copy/PACKAGE).rglob('*.py'):
            if path.name != '__init__.py': path.unlink()
        text, faults = output_of('nbdev_export', root=copy)
        if faults: return faults
        there, fresh = ({path.relative_to(base).as_posix(): path.read_bytes() for path in (base/PACKAGE).rglob('*.py')}
                        for base in (root, copy))
    faults += [f'{name}: no notebook exports it' for name in sorted(there.keys() - fresh)]
    faults += [f'{name}: missing; run nbdev_export' for name in sorted(fresh.keys() - there)]
    return faults + [f'{name}: differs from its notebook; run nbdev_export'
                     for name in sorted(there.keys() & fresh) if there[name] != fresh[name]]


def facade_in_step(root):
    "The façade is made from the modules' own `__all__`"
    return facade.faults(root)


def names(root):
    "No undefined or unused names"
    text, failed = output_of('python', '-m', 'pyflakes', PACKAGE, root=root)
    return text.splitlines() if failed and text else failed


def arrows(root):
    "Modules import only what the design allows, and no other module's private names"
    paths = {module_name(path.relative_to(root/PACKAGE)): path for path in modules(root)}
    faults = [f'{module}: not in the table of arrows in tools/test.py' for module in paths if module not in ARROWS]
    for module, path in paths.items():
        allowed, tree = ARROWS.get(module, set()), ast.parse(path.read_text(encoding='utf-8'))
        for target, name, line in own_imports(tree, paths, package_of(path.relative_to(root/PACKAGE))):
            where = f'{path.relative_to(root)}:{line}'
            if target not in paths: faults.append(f'{where}: imports {PACKAGE}.{target}, which does not exist')
            elif allowed is not ANY and target not in allowed: faults.append(f'{where}: {module} may not import {target}')
            if name.startswith('_') and target != '__init__': faults.append(f'{where}: imports the private name {target}.{name}')
    return faults


def module_name(path):
    "A path below the package as a dotted name; a package is named after its folder, the whole one '__init__'."
    parts = path.with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' and len(parts) > 1 else parts)


def package_of(path): return (PACKAGE, *path.parts[:-1])


def own_imports(tree, known, package):
    "Each import of a module of ours, wherever it stands, as (module, imported name, line)."
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): found = [(alias.name, '') for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[:len(package) + 1 - node.level] if node.level else ()
            base = '.'.join([*above, *filter(None, [node.module])])
            whole = {alias.name: f'{base}.{alias.name}' for alias in node.names}
            found = [(path, '') if path.removeprefix(f'{PACKAGE}.') in known else (base, name) for name, path in whole.items()]
        else: continue
        for target, name in found:
            if target.split('.')[0] == PACKAGE: yield target.removeprefix(PACKAGE).removeprefix('.') or '__init__', name, node.lineno


def readme_in_step(root):
    "README.md is made from nbs/index.ipynb, and quotes the true count"
    faults, count = readme.faults(root), len(notebooks(root))
    quoted = set(re.findall(r'^\s*(\d+ passed, \d+ failed)$', (root/'README.md').read_text(encoding='utf-8'), re.MULTILINE)) \
        if (root/'README.md').exists() else set()
    if quoted != {f'{count} passed, 0 failed'}:
        faults.append(f"README.md should quote '{count} passed, 0 failed', as `make test` prints it, and quotes {sorted(quoted) or 'nothing'}")
    return faults


def pytests(root, which='not slow'):
    "What notebooks cannot test"
    text, failed = output_of('python', '-m', 'pytest', '--quiet', '--no-header', '--durations', '5', '-m', which, 'tests', root=root)
    print(text.rstrip())
    return ['pytest failed'] if failed else []


def slow_pytests(root):
    "What takes minutes to test: the command, import time, kills, databases, memory, compilers, every way out of a range test"
    return pytests(root, 'slow')


# --- the notebooks ---

def flags(cell):
    return set(re.findall(r'^#\s*\|\s*(.+?)\s*$', ''.join(cell['source']), re.MULTILINE))


def is_evaluated(cell, skip=frozenset()):
    "Would nbdev_test run this cell? `skip` holds settings.ini's tst_flags."
    told = flags(cell)
    return bool(''.join(cell['source']).strip()) and not any(
        re.fullmatch(r'eval:\s*false', flag, re.IGNORECASE) or flag in skip for flag in told)


def run_notebooks(root, workers, command='nbdev_test'):
    "Run each notebook by nbdev_test, which nbdev 3 calls nbdev-test; return the names of those that passed, and a reason for each other one."
    started, failed = set(), set()
    dash = '-' if '-' in command else '_'
    process = tool(command, f'--do{dash}print', f'--n{dash}workers', str(workers), root=root)
    reporting = False
    for line in process.stdout:
        print(line, end='', flush=True)
        started.update(Path(name).name for name in re.findall(r'Starting (.*?\.ipynb)', line))  # two workers may share a line
        if line.startswith('nbdev Tests Failed'): reporting = True
        elif reporting and (match := re.fullmatch(r'\s+(\S.*\.ipynb)', line.rstrip())): failed.add(match[1])
    status = process.wait()

    config = ConfigParser(delimiters=['='])
    config.read(root/'settings.ini', encoding='utf-8')
    skip = set(config['DEFAULT']['tst_flags'].split())
    reasons = {}
    for path in notebooks(root):
        cells = [cell for cell in json.loads(path.read_text(encoding='utf-8'))['cells'] if cell['cell_type'] == 'code']
        if path.name in failed: reasons[path.name] = 'a cell failed'
        elif path.name not in started: reasons[path.name] = 'did not run (skip_exec?)'
        elif not any(is_evaluated(cell, skip) for cell in cells): reasons[path.name] = 'has no cell that is evaluated'
        elif status and not failed: reasons[path.name] = f'{command} ended with status {status}'
    return {path.name for path in notebooks(root)} - reasons.keys(), reasons


CHECKS = {'clean': clean, 'export': export, 'facade': facade_in_step, 'names': names, 'arrows': arrows, 'readme': readme_in_step, 'pytest': pytests, 'slow': slow_pytests}


def attempt(check, root):
    "The check's faults; one that cannot do its work is at fault itself."
    try: return check(root)
    except Exception as error: return [f'{type(error).__name__}: {error}']


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checks', nargs='*', metavar='check', help=f"{', '.join(CHECKS)}, notebooks (default: all)")
    parser.add_argument('--root', type=Path, default=ROOT, help='the repository to check')
    parser.add_argument('--workers', type=int, default=2, help='notebooks at a time (default: 2)')
    args = parser.parse_args()
    if unknown := set(args.checks) - CHECKS.keys() - {'notebooks'}: parser.error(f'no check is called {sorted(unknown)[0]}')
    chosen = args.checks or [*(CHECKS.keys() - {'slow'}), 'notebooks']

    wrong = []
    for name, check in CHECKS.items():
        if name not in chosen: continue
        start = time.perf_counter()
        print(f'--- {check.__doc__}', flush=True)
        faults = attempt(check, args.root)
        print(*faults, f"{'failed' if faults else 'ok'} ({time.perf_counter() - start:.0f} s)", sep='\n', flush=True)
        if faults: wrong.append(name)
    if 'notebooks' not in chosen: sys.exit(f"Failed: {', '.join(wrong)}" if wrong else 0)

    print('--- Every notebook runs', flush=True)
    try: passed, reasons = run_notebooks(args.root, args.workers)
    except Exception as error: passed, reasons = set(), {path.name: f'{type(error).__name__}: {error}' for path in notebooks(args.root)}
    for notebook, reason in reasons.items(): print(f'{notebook}: {reason}')
    if not passed and not reasons: wrong.append('notebooks (there are none)')
    if wrong: print(f"Failed, besides any notebook: {', '.join(wrong)}")
    print(f'{len(passed)} passed, {len(reasons)} failed', flush=True)
    sys.exit(bool(wrong or reasons))


if __name__ == '__main__': main()
