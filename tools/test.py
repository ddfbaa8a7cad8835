"""Every check of the repository but the slow ones, in order.

The last line counts the notebooks that ran: `N passed, M failed`. Name one or more checks to run only those:
`python tools/test.py arrows readme`.
"""
import argparse
import ast
import io
import re
import shutil
import sys
import tempfile
import time
import tokenize
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import facade
import reading
import readme
import typed
from explain import ancestors, explain
from tutorial import MAX_KB, PACKAGE, ROOT, load, not_ready, notebooks, run_notebooks, same_names, tool

ANY = object()

# Which of our modules each of our modules may import.
ARROWS = {
    'check': set(),
    'groups': {'check'},
    'torch_inside': set(),
    'plumbing': {'check', 'view'},
    'schedule': {'check', 'plumbing'},
    'clock': {'check'},
    'plan': {'check', 'clock', 'groups', 'view.lint'},
    'shapes': {'check', 'plumbing', 'schedule'},
    'recipes': {'check', 'plumbing', 'schedule'},
    'data': {'check', 'torch_inside'},
    'metric': {'batch', 'check'},
    'claims': set(),
    'batch': {'check'},
    'learner': {'batch', 'check', 'claims', 'groups', 'run.passes', 'torch_inside'},
    'callback': {'batch', 'check', 'groups', 'learner', 'metric', 'plan', 'view.plot'},
    'rules': {'check', 'view.sweep'},
    'interrupt': set(),
    'memory': {'torch_inside'},
    'state': {'interrupt', 'memory', 'torch_inside'},
    'ladder': {'batch', 'callback', 'check', 'learner', 'plan', 'state'},
    'finder': {'check', 'groups', 'ladder', 'learner', 'rules', 'schedule'},
    'post': {'callback', 'check', 'claims', 'learner'},
    'view.plot': set(),
    'view.sweep': {'view.plot'},
    'view.lint': {'check'},
    'view.average': set(),
    'view.stored': set(),
    'view.translate': {'check', 'view.plot'},
    'view.elsewhere': {'check', 'clock', 'schedule'},
    'view.explorer': {'check', 'recipes', 'schedule', 'view.plot'},
    'run.resume': {'check', 'groups', 'plan'},
    'run.torch_lr': {'check', 'groups', 'plan', 'run.resume', 'torch_inside', 'view.plot'},
    'run.handy': {'batch', 'check', 'learner', 'metric', 'view.plot'},
    'run.files': set(),
    'run.passes': {'batch', 'check'},
    'run.saving': {'interrupt', 'memory', 'state', 'torch_inside'},
    'run.checkpoint': {'callback', 'check', 'groups', 'learner', 'memory', 'run.files', 'run.resume',
                       'run.saving', 'state', 'torch_inside'},
    'run.scale': {'batch', 'check', 'learner', 'state'},
    'run.guards': {'callback', 'check', 'groups', 'learner', 'run.files', 'run.saving',
                   'torch_inside'},
    'run.finetune': {'batch', 'check', 'learner', 'run.handy'},
    'run.fast': {'batch', 'callback', 'learner', 'torch_inside'},
    'run.batches': {'check'},
    'run.steps': {'check', 'groups', 'learner'},
    'lab.probe': {'check', 'lab.fleet', 'rules', 'schedule', 'view.plot'},
    'lab.runs': {'check', 'lab.tables', 'run.files', 'view.plot'},
    'lab.stacked': {'torch_inside'},
    'lab.tracing': {'torch_inside'},
    'lab.fleet': {'batch', 'check', 'claims', 'clock', 'lab.runs', 'lab.stacked', 'lab.tracing', 'learner',
                  'torch_inside'},
    'lab.tables': set(),
    'lab.carry': set(),
    'lab.paired': {'check', 'lab.runs'},
    'lab.cells': {'__init__', 'check', 'lab.runs'},
    'lab.trial': {'check', 'data', 'lab.cells', 'lab.fleet', 'lab.paired', 'lab.runs', 'post', 'recipes',
                  'run.files', 'schedule', 'view.plot'},
    'lab.annealing': {'check', 'clock', 'schedule', 'view.plot'},
    'lab.quadratic': {'check', 'clock'},
    'lab.fashion': {'data'},
    'lab.language': {'check', 'data', 'learner'},
    'lab.language_study': set(),
    'lab.study': {'check', 'lab.annealing', 'schedule'},
    'lab.search': {'check', 'lab.annealing', 'lab.fleet', 'lab.paired', 'lab.study', 'lab.tables',
                   'recipes', 'schedule', 'view.plot'},
    'lab.logs': {'check'},
    'lab.law': {'check', 'clock', 'lab.logs', 'lab.runs', 'lab.search', 'lab.tables', 'recipes', 'schedule',
                'view.plot', 'view.stored'},
    'view': {'__init__'},
    'run': {'__init__'},
    'lab': {'__init__'},
    'cli': ANY,
    '__main__': {'cli'},
    '__init__': set(),
}

# What any module may use, as it uses the standard library; of ours, these import only each other.
GROUND = {'batch', 'check', 'claims', 'clock', 'data', 'groups', 'interrupt', 'lab.tables', 'memory',
          'metric', 'run.files', 'run.passes', 'state', 'torch_inside', 'view.plot'}
# How many arrows there may be, without those to the ground, and floors: the modules on the longest way down.
MOST_ARROWS, MOST_FLOORS = 70, 7
# How long the core may be: lines and KiB of code, without docstrings, comments and blank lines.
SEVEN = ('schedule', 'recipes', 'data', 'metric', 'learner', 'callback', 'finder')
ELEVEN = (*SEVEN, 'plan', 'post', 'check', 'state')
WHOLE = (*ELEVEN, 'batch', 'claims', 'clock', 'groups', 'interrupt', 'ladder', 'memory', 'plumbing',
         'rules', 'shapes', 'torch_inside')
SIZES = {SEVEN: (650, 29.5), ELEVEN: (900, 41.5), WHOLE: (1980, 95)}


def modules(root):
    return sorted(path for path in (root/PACKAGE).rglob('*.py') if path.name != '_modidx.py')


def output_of(name, *args, root, **env):
    "What a tool printed, and a line for its exit status unless that was 0."
    process = tool(name, *args, root=root, **env)
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
    faults = same_names(notebooks(root))
    for path in notebooks(root):
        kb = path.stat().st_size/1000
        if kb > MAX_KB: faults.append(f'{path.name}: {kb:.0f} KB, over {MAX_KB}')
        faults += [f'{path.name}: {fault}' for fault in not_ready(load(path))]
    with tempfile.TemporaryDirectory() as tmp:
        copy_tree(root, copy := Path(tmp))
        _, failed = output_of('nbdev_clean', root=copy)
        faults += failed
        faults += [f'{path.name}: not clean; run nbdev_clean' for path in notebooks(root)
                   if (copy/path.relative_to(root)).read_bytes() != path.read_bytes()]
    return faults


def export(root, command='nbdev_export'):
    "Modules are what the notebooks export"
    with tempfile.TemporaryDirectory() as tmp:
        copy_tree(root, copy := Path(tmp))
        for path in (copy/PACKAGE).rglob('*.py'):
            if path.name not in ('__init__.py', '__main__.py'): path.unlink()  # made by tools/facade.py
        _, faults = output_of(command, root=copy)
        if faults: return faults
        explain(copy, PACKAGE)
        there, fresh = python_of(root), python_of(copy)
    faults += [f'{name}: no notebook exports it' for name in sorted(there.keys() - fresh)]
    faults += [f'{name}: missing; run nbdev_export' for name in sorted(fresh.keys() - there)]
    return faults + [f'{name}: differs from its notebook; run nbdev_export, then tools/facade.py'
                     for name in sorted(there.keys() & fresh) if there[name] != fresh[name]]


def python_of(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in (root/PACKAGE).rglob('*.py')}


def facade_in_step(root):
    "The façade is made from the modules' own `__all__`"
    return facade.faults(root)


def ruff(root):
    "No undefined or unused names, no line over 110 columns, in modules, notebooks, tests and tools"
    text, failed = output_of('ruff', 'check', '--quiet', '--output-format', 'concise', root=root)
    return [*(text.splitlines() if failed and text else failed), *long_lines(root)]


NOT_PYTHON = 'Makefile', '.ci/run', '.github/workflows/*.yaml', 'docs/play/*.js', '.pre-commit-config.yaml'


def long_lines(root):
    "Code that ruff does not read"
    for path in sorted(path for pattern in NOT_PYTHON for path in root.glob(pattern)):
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
            if len(line) > 110: yield f'{path.relative_to(root)}:{number}: has {len(line)} columns, over 110'


def types(root):
    "mypy and pyright accept a user's scripts, know their types, and refuse wrong calls"
    return typed.faults(root)


# --- who imports whom ---

def arrows(root):
    "Modules import only what the design allows, downwards, and no other module's private names"
    found = list(imports(root))
    paths = {module_name(path.relative_to(root/PACKAGE)): path for path in modules(root)}
    unlisted = sorted(paths.keys() - ARROWS.keys())
    faults = [f'{module}: not in the table of arrows in tools/test.py' for module in unlisted]
    for module, target, name, line, _ in found:
        allowed, where = ARROWS.get(module, set()), f'{paths[module].relative_to(root)}:{line}'
        if target not in paths: faults.append(f'{where}: imports {PACKAGE}.{target}, which does not exist')
        elif allowed is not ANY and target not in allowed:
            faults.append(f'{where}: {module} may not import {target}')
        if name.startswith('_') and target != '__init__':
            faults.append(f'{where}: imports the private name {target}.{name}')
    return faults + list(borrowed_names(root, paths)) + list(shape(found))


def borrowed_names(root, paths):
    "Private names of another module that are used: `learn._hooks`, or as a text, `'_hooks'`."
    trees = {module: ast.parse(path.read_text(encoding='utf-8')) for module, path in paths.items()}
    set_there = {module: {*filter(is_private, attributes_set(tree))} for module, tree in trees.items()}
    made_there = {module: {*filter(is_private, names_made(tree))} for module, tree in trees.items()}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute): name, elsewhere = node.attr, [set_there, made_there]
            elif isinstance(node, ast.Constant): name, elsewhere = node.value, [set_there]
            else: continue
            if not is_private(name) or name in set_there[module] | made_there[module]: continue
            where = f'{paths[module].relative_to(root)}:{node.lineno}'
            for maker in sorted({other for table in elsewhere for other in table if name in table[other]}):
                yield f'{where}: uses the private name {name} of {maker}'


def attributes_set(tree):
    return (node.attr for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))


def names_made(tree):
    return (node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef)))


def is_private(name):
    return isinstance(name, str) and re.fullmatch(r'_[A-Za-z]\w*', name) is not None


def shape(found):
    "What is wrong with all arrows together: too many, too deep, in a circle, or the core needs a wing."
    outside = {'cli', '__init__', *facade.WINGS}
    inner = [each for each in found if each[0] not in outside and each[1] not in outside]
    below = {}
    for module, target, *_ in inner: below.setdefault(module, set()).add(target)
    count = sum(len(targets - GROUND) for targets in below.values())
    if count > MOST_ARROWS: yield f'{count} arrows, over {MOST_ARROWS}'
    try: way = longest_way(below)
    except CycleError as error: yield f"a circle: {' → '.join(error.args[1])}"
    else:
        ground = sum(map(len, below.values())) - count
        print(f'{count} arrows of {MOST_ARROWS}, and {ground} to the ground', flush=True)
        print(f'{len(way)} floors of {MOST_FLOORS}', flush=True)
        for module in sorted(GROUND & below.keys()):
            for target in sorted(below[module] - GROUND):
                yield f'{module} is on the ground and may not import {target}'
        if len(way) > MOST_FLOORS: yield f"{len(way)} floors, over {MOST_FLOORS}: {' → '.join(way)}"
    for module, target, _, line, lazy in inner:
        if '.' in module or '.' not in target: continue
        if not (target.startswith('view.') or target in GROUND):
            yield f'{module}, line {line}: the core may not import {target}'
        elif not lazy: yield f'{module}, line {line}: the core may import {target} only inside a function'


def longest_way(below):
    "The modules on the longest way down, from {module: those that it imports}."
    ways = {}
    for module in TopologicalSorter(below).static_order():  # what is imported comes first
        ways[module] = module, *max((ways[target] for target in below.get(module, ())), key=len, default=())
    return max(ways.values(), key=len, default=())


def module_name(path):
    "A path below the package as a dotted name: a wing has that of its folder, the package itself '__init__'."
    parts = path.with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' and len(parts) > 1 else parts)


def imports(root):
    "Each import of ours, wherever it stands: (module, imported module, imported name, line, is it lazy?)."
    paths = {module_name(path.relative_to(root/PACKAGE)): path for path in modules(root)}
    for module, path in paths.items():
        package = (PACKAGE, *path.relative_to(root/PACKAGE).parts[:-1])
        tree = ast.parse(path.read_text(encoding='utf-8'))
        lazy = {id(node) for place in ast.walk(tree) if waits(place) for node in ast.walk(place)}
        for node in ast.walk(tree):
            for target, name in imported(node, paths, package):
                if target.split('.')[0] != PACKAGE: continue
                target = target.removeprefix(PACKAGE).removeprefix('.') or '__init__'
                yield module, target, name, node.lineno, id(node) in lazy


def waits(node):
    "Is what stands in this node run later than the import of its module, or read by type checkers alone?"
    if isinstance(node, ast.If): return getattr(node.test, 'id', '') == 'TYPE_CHECKING'
    return isinstance(node, ast.FunctionDef)


def imported(node, known, package):
    "What one node of a syntax tree imports, as (module, name)."
    if isinstance(node, ast.Import): return [(alias.name, '') for alias in node.names]
    if not isinstance(node, ast.ImportFrom): return []
    above = package[:len(package) + 1 - node.level] if node.level else ()
    base = '.'.join([*above, *filter(None, [node.module])])
    whole = {alias.name: f'{base}.{alias.name}' for alias in node.names}
    return [(path, '') if path.removeprefix(f'{PACKAGE}.') in known else (base, name)
            for name, path in whole.items()]


# --- how long the core is ---

def sizes(root):
    "The core stays small: lines and KiB of code, without docstrings, comments and blank lines"
    faults = []
    for names, (most_lines, most_kib) in SIZES.items():
        paths = [path for name in names if (path := root/PACKAGE/f'{name}.py').exists()]
        code = [line for path in paths for line in code_lines(path.read_text(encoding='utf-8'))]
        lines, kib = len(code), sum(len(line.encode()) + 1 for line in code)/1024
        print(f'{len(paths)} modules: {lines} lines of {most_lines}, {kib:.1f} KiB of {most_kib}', flush=True)
        if lines > most_lines: faults.append(f"{', '.join(names)}: {lines} lines of code, over {most_lines}")
        if kib > most_kib: faults.append(f"{', '.join(names)}: {kib:.1f} KiB of code, over {most_kib}")
    return faults


def code_lines(text):
    "The lines of a module without docstrings, comments, blank lines and the `__all__` that nbdev writes."
    tree, lines = ast.parse(text), text.splitlines()
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    owners = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    firsts = [node.body[0] for node in owners if ast.get_docstring(node) is not None]
    docs = {(first.lineno, first.col_offset) for first in firsts}
    for token in reversed([*tokenize.generate_tokens(io.StringIO(text).readline)]):
        if token.type == tokenize.COMMENT or token.start in docs: cut(lines, token.start, token.end)
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '__all__':
            lines[node.lineno - 1:node.end_lineno] = ['']*(node.end_lineno - node.lineno + 1)
    return [line.rstrip() for line in lines if line.strip()]


def cut(lines, start, end):
    "Take out what stands between two places, each a line, counted from 1, and a column."
    (first, left), (last, right) = start, end
    rest = lines[last - 1][right:]
    lines[first - 1:last] = [lines[first - 1][:left], *['']*(last - first)]
    lines[last - 1] += rest


# --- annotations ---

def annotations(root):
    "Public functions and methods are annotated, and attributes that begin as None"
    faults = []
    for path in modules(root):
        tree = ast.parse(path.read_text(encoding='utf-8'))
        for name, function in public_functions(tree):
            if missing := not_annotated(function): faults.append(
                f"{path.relative_to(root)}:{function.lineno}: {name} lacks the type of {', '.join(missing)}")
        faults += [f'{path.relative_to(root)}:{line}: {name} begins as None, and lacks a type'
                   for name, line in untyped_attributes(tree)]
    return faults


def public_names(tree):
    "The names of a module's `__all__` that it makes: {name: node}."
    lists = [node.value for node in tree.body
             if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '__all__']
    public = {name for each in lists if isinstance(each, ast.List) for name in ast.literal_eval(each)}
    return {name: node for name, node in definitions(tree).items() if name in public}


def definitions(tree):
    return {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def public_functions(tree):
    "The functions of a module's `__all__`, and the public methods of its classes, as (name, node)."
    for name, node in public_names(tree).items():
        if isinstance(node, ast.FunctionDef): yield name, node
        for part in consists_of(name, definitions(tree)):
            yield from ((f'{name}.{method.name}', method) for method in part.body if is_public_method(method))


def untyped_attributes(tree):
    "Public attributes that begin as None, which is all that a type checker then knows: (name, line)."
    made = definitions(tree)
    for name in public_names(tree):
        if not isinstance(made[name], ast.ClassDef): continue
        declared = {each for part in ancestors(made[name], made) for each in declared_in(part)}
        nodes = [node for part in consists_of(name, made) for node in ast.walk(part)]
        assigned = [node for node in nodes if isinstance(node, ast.Assign)]
        for target, value in (pair for node in assigned for pair in set_by(node)):
            if not isinstance(target, ast.Attribute) or getattr(target.value, 'id', '') != 'self': continue
            if is_private(target.attr) or target.attr in declared: continue
            if isinstance(value, ast.Constant) and value.value is None:
                yield f'{name}.{target.attr}', target.lineno


def declared_in(cls):
    "Attributes that a class gives a type, in its body or in a method: `x: int`, `self.x: int`."
    for node in ast.walk(cls):
        if not isinstance(node, ast.AnnAssign): continue
        name = node.target.attr if isinstance(node.target, ast.Attribute) else node.target.id
        if node in cls.body or isinstance(node.target, ast.Attribute): yield name


def set_by(node):
    "What an assignment sets, and to what: `a, b = 1, None` sets two things."
    for target in node.targets:
        pair = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        yield from zip(target.elts, node.value.elts) if pair else [(target, node.value)]


def consists_of(name, made):
    "A class, and those of its bases that are private to its module."
    if not isinstance(made.get(name), ast.ClassDef): return
    yield made[name]
    for base in made[name].bases:
        if is_private(found := getattr(base, 'id', '')): yield from consists_of(found, made)


def is_public_method(node):
    if not isinstance(node, ast.FunctionDef): return False
    return node.name in ('__init__', '__call__') or not node.name.startswith('_')


def not_annotated(function):
    "The parameters of a function that lack a type, and 'return'."
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    missing = [arg.arg for arg in named if arg.annotation is None and arg.arg not in ('self', 'cls')]
    return missing if function.returns or function.name == '__init__' else [*missing, 'return']


# --- README, and what notebooks cannot test ---

def readme_in_step(root):
    "README.md is made from nbs/index.ipynb, and quotes the true count"
    faults, wanted = readme.faults(root), f'{len(notebooks(root))} passed, 0 failed'
    text = (root/'README.md').read_text(encoding='utf-8') if (root/'README.md').exists() else ''
    quoted = set(re.findall(r'^\s*(\d+ passed, \d+ failed)$', text, re.MULTILINE))
    if quoted != {wanted}:
        faults.append(f"README.md should quote '{wanted}', as `make test` prints it, "
                      f"and quotes {sorted(quoted) or 'nothing'}")
    return faults


def reads_well(root):
    "The numbered notebooks keep to their lengths, their grade, and the order of the glossary's words"
    return reading.faults(root)


def pytests(root, which='not slow'):
    "What notebooks cannot test"
    process = tool('python', '-m', 'pytest', '--quiet', '--no-header', '-p', 'progress', '--numprocesses', 2,
                   '--durations', 5, '-m', which, 'tests', root=root, PYTHONPATH=f"{root}:{ROOT/'tools'}")
    for line in process.stdout: print(line, end='', flush=True)
    return [f'pytest ended with status {status}'] if (status := process.wait()) else []


def slow_pytests(root):
    "What takes minutes to test: commands, kills, databases, memory, compilers, each way out of a range test"
    return pytests(root, 'slow and not in_browser')


def browser_pytests(root):
    "Tests that need Chromium: what a reader should not see is seen"
    return pytests(root, 'in_browser')


CHECKS = {
    'clean': clean, 'export': export, 'facade': facade_in_step, 'ruff': ruff,
    'arrows': arrows, 'sizes': sizes, 'annotations': annotations, 'types': types, 'readme': readme_in_step,
    'reading': reads_well,
    'pytest': pytests, 'slow': slow_pytests, 'in_browser': browser_pytests,
}
ONLY_IF_ASKED = {'types', 'slow', 'in_browser'}


def attempt(check, root):
    "The check's faults; one that cannot do its work is at fault itself."
    try: return list(check(root))
    except Exception as error: return [f'{type(error).__name__}: {error}']


def all_notebooks(root, workers):
    "Those that passed, and why each other one did not."
    try: return run_notebooks(root, workers)
    except Exception as error:
        return set(), {path.name: f'{type(error).__name__}: {error}' for path in notebooks(root)}


def stages(asked):
    "The checks to make, in order."
    known = [*CHECKS, 'notebooks']
    unknown = [name for name in asked if name not in known]
    if unknown: raise ValueError(f'no check is called {unknown[0]}')
    return [name for name in known if name in (asked or set(known) - ONLY_IF_ASKED)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    names, not_all = ', '.join(CHECKS), ', '.join(sorted(ONLY_IF_ASKED))
    parser.add_argument('checks', nargs='*', metavar='check',
                        help=f'{names}, notebooks (default: all but {not_all})')
    parser.add_argument('--root', type=Path, default=ROOT, help='the repository to check')
    parser.add_argument('--workers', type=int, default=2, help='notebooks at a time (default: 2)')
    args = parser.parse_args()
    try: chosen = stages(args.checks)
    except ValueError as error: parser.error(str(error))

    took, wrong, passed, reasons = {}, [], set(), {}
    for k, name in enumerate(chosen, 1):
        start = time.monotonic()
        what = CHECKS[name].__doc__ if name in CHECKS else 'Every notebook runs'
        print(f'--- {k} of {len(chosen)}, {name}: {what}', flush=True)
        if name in CHECKS: faults = attempt(CHECKS[name], args.root)
        else:
            passed, reasons = all_notebooks(args.root, args.workers)
            faults = [f'{notebook}: {reason}' for notebook, reason in reasons.items()]
            if not passed and not reasons: faults.append('there are no notebooks')
        took[name] = f'{time.monotonic() - start:.0f} s'
        print(*faults, f"{'failed' if faults else 'ok'} ({took[name]})", sep='\n', flush=True)
        if faults: wrong.append(name)

    print('---', ', '.join(f'{name} {seconds}' for name, seconds in took.items()))
    if wrong: print(f"Failed: {', '.join(wrong)}")
    if 'notebooks' in chosen: print(f'{len(passed)} passed, {len(reasons)} failed', flush=True)
    sys.exit(bool(wrong))


if __name__ == '__main__': main()
