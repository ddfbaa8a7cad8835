"""Build the site: the notebooks with their outputs, and a reference made from docstrings, signatures and the comments on parameters.

Everything a page needs (formulas, search, fonts) comes with it: the site works without a network.
"""
import argparse
import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from configparser import ConfigParser
from pathlib import Path

import numpy as np
from fastcore.docments import docments

from test import PACKAGE, ROOT, notebooks

SETTINGS = ConfigParser(delimiters=['='])
SETTINGS.read(ROOT/'settings.ini', encoding='utf-8')
REPOSITORY = '{git_url}/blob/{branch}'.format_map(SETTINGS['DEFAULT'])
FENCED = re.compile(r'```python\n(.+?)\n```', re.DOTALL)
OUTSIDE = re.compile(r'(?<!!)\]\(\.\./((?!docs/readme)[^)]+)\)')
TREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def source(cell): return ''.join(cell['source'])


def title(path):
    "The notebook's question, its first heading."
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        if match := re.search(r'^# (.+)$', source(cell), re.MULTILINE): return match[1]
    raise ValueError(f'{path.name} has no heading')


def module_of(nb):
    "The module that a notebook exports, or None."
    for cell in nb['cells']:
        if match := re.search(r'^#\|\s*default_exp\s+(\S+)', source(cell), re.MULTILINE): return match[1]


def page_of(nb):
    "The notebook with nbdev's directives obeyed, the text of images that would be fetched from elsewhere, and links to files of the repository that are no pages."
    kept = [cell for cell in nb['cells'] if not re.search(r'^#\|\s*(default_exp|hide\s*$)', source(cell), re.MULTILINE)]
    for cell in kept:
        if re.search(r'^#\|\s*echo:\s*false', source(cell), re.MULTILINE): cell['metadata'] = {'tags': ['remove-input']}
        if cell['cell_type'] == 'code': cell['source'] = re.sub(r'^#\|.*\n?', '', source(cell), flags=re.MULTILINE)
        else: cell['source'] = OUTSIDE.sub(rf'](<{REPOSITORY}/\1>)', re.sub(r'!\[([^]]*)\]\(https?://[^)]*\)', r'\1', source(cell)))
    return nb | {'cells': kept}


def first_use(name, nb):
    "The first code after the definition that uses `name`, in a cell, where every test runs it, or in the text."
    defined = False
    for cell in nb['cells']:
        code = source(cell)
        if re.search(r'^#\|\s*exporti?\b', code): defined |= bool(re.search(rf'^(def|class) {name}\b|^{name} *=', code, re.MULTILINE))
        elif defined:
            for text in [code] if cell['cell_type'] == 'code' else FENCED.findall(code):
                if re.search(rf'\b{name}\b', text): return re.sub(r'^#\|.*\n', '', text, flags=re.MULTILINE).strip()


def example_of(name, nb, module):
    "The first use of `name`, or else of a public name that needs it, as a function needs the class that it returns."
    code = {other: inspect.getsource(thing) for other, thing in vars(module).items() if getattr(thing, '__module__', None) == module.__name__ and (inspect.isclass(thing) or inspect.isfunction(thing))}
    waiting = [name]
    for candidate in waiting:
        if candidate in module.__all__ and (example := first_use(candidate, nb)): return example
        waiting += [other for other, text in code.items() if other not in waiting and re.search(rf'\b{candidate}\b', text)]


def reference(nb, path):
    "A page for one module: each public name with its signature, its comments on parameters, its errors, and an example."
    module = importlib.import_module(f'{PACKAGE}.{module_of(nb)}')
    file = f'{PACKAGE}/{module_of(nb)}.py'
    yield f'# `{module.__name__}`\n\n{module.__doc__}\n\nTaught in [{title(path)}](../{path.name}), which exports [{file}](<{REPOSITORY}/{file}>)\n'
    for name in module.__all__:
        yield f'## {name}\n\n{entry(getattr(module, name), 3)}'
        if example := example_of(name, nb, module): yield f'From the notebook:\n\n```python\n{example}\n```\n'
        elif name in importlib.import_module(PACKAGE).__all__: raise ValueError(f'{PACKAGE}.{name} has no example in {path.name}')


def signature(thing):
    "The call, a parameter a line, with the comment on each."
    notes, lines, before = docments(thing, args_kwargs=True), [], None
    plain = inspect.isclass(thing) and issubclass(thing, Exception) # Python's own constructor, which has no signature
    for p in () if plain else inspect.signature(thing).parameters.values():
        if p.name == 'self': continue
        if p.kind is p.KEYWORD_ONLY and (before is None or before.kind is p.POSITIONAL_OR_KEYWORD): lines.append('    *,')
        stars = {p.VAR_POSITIONAL: '*', p.VAR_KEYWORD: '**'}.get(p.kind, '')
        default = '' if p.default is p.empty else f'={value(p.default)}'
        lines.append(f"    {stars}{p.name}{default},{f' # {notes[p.name]}' if notes.get(p.name) else ''}")
        before = p
    return '\n'.join([f"{'class' if inspect.isclass(thing) else 'def'} {thing.__name__}(", *lines, ')']) if lines else f'{thing.__name__}()'


def value(default):
    "A default as a reader would write it, an array in a few words."
    if isinstance(default, np.ndarray): return f'<{len(default)} values from {default[0]:g} to {default[-1]:g}>'
    return getattr(default, '__name__', None) or repr(default)


def returned(thing):
    "The comment behind a signature of several lines, which says what comes back."
    for line in inspect.getsource(thing).splitlines() if inspect.isfunction(thing) else ():
        if match := re.match(r' *\)(?: *-> *\w+)?: *# *(.+)', line): return match[1]
        if line.lstrip().startswith('"'): return


def raised(thing, seen=None):
    "Each error that it raises itself, or by a function of the same module, as (type, message): read from the source."
    seen = set() if seen is None else seen
    if inspect.isclass(thing):
        for name in ('__init__', '__post_init__'): yield from raised(getattr(thing, name, None), seen)
    if not inspect.isfunction(thing) or not thing.__module__.startswith(PACKAGE) or thing in seen: return
    seen.add(thing)
    try: tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except OSError: return # a dataclass wrote it
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name) and node.exc.args: yield node.exc.func.id, message(node.exc.args[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = thing.__globals__.get(node.func.id)
            if inspect.isfunction(called) and called.__module__ == thing.__module__: yield from raised(called, seen)


def message(node):
    "An error's text as it stands in the source, up to what was got; an ellipsis for what is filled in."
    pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = ''.join(str(piece.value) if isinstance(piece, ast.Constant) else '…' for piece in pieces)
    return re.split(r'[,;]? got ', text)[0]


def entry(thing, level):
    "Signature and docstring, what comes back and what is raised; for a class its own public methods too."
    if isinstance(thing, dict): return f"A dictionary with {', '.join(f'`{key!r}`' for key in thing)}.\n\n"
    if not callable(thing): return f'`{thing!r}`\n\n'
    if not thing.__doc__: raise ValueError(f'{thing.__name__} has no docstring')
    text = f'```python\n{signature(thing)}\n```\n\n*{inspect.getdoc(thing)}*'
    if what := returned(thing): text += f'\n\nReturns {what}'
    errors = dict.fromkeys(raised(thing))
    if errors: text += '\n\nRaises\n' + ''.join(f'\n- `{kind}`: {what}' for kind, what in errors)
    for name, method in vars(thing).items() if inspect.isclass(thing) else ():
        method = getattr(method, '__func__', method)
        if inspect.isfunction(method) and not name.startswith('_') and method.__doc__: text += f"\n\n{'#'*level} {thing.__name__}.{name}\n\n{entry(method, level + 1)}".rstrip()
    return text + '\n\n'


def lay_out(root, to):
    "Write the pages that Sphinx reads."
    (to/'reference').mkdir()
    shutil.copytree(root/'docs'/'readme', to.parent/'docs'/'readme', dirs_exist_ok=True)
    chapters, rooms, modules = [], [], []
    for path in notebooks(root):
        nb = json.loads(path.read_text(encoding='utf-8'))
        if path.stem != 'index': (chapters if path.stem[0].isdigit() else rooms).append(path.stem)
        if module_of(nb):
            modules.append(f'reference/{module_of(nb)}')
            (to/f'{modules[-1]}.md').write_text('\n'.join(reference(nb, path)), encoding='utf-8')
        (to/path.name).write_text(json.dumps(page_of(nb)), encoding='utf-8')
    words = [path.stem for path in (root/'nbs').glob('*.md')]
    for name in words: shutil.copy(root/'nbs'/f'{name}.md', to)
    index = json.loads((to/'index.ipynb').read_text(encoding='utf-8'))
    trees = ''.join(TREE.format(caption=caption, pages='\n'.join(pages)) for caption, pages in
                    (('The tutorial', chapters), ('Side rooms', rooms), ('Reference', words + modules)))
    index['cells'].append(dict(cell_type='markdown', id='contents', metadata={}, source=trees))
    (to/'index.ipynb').write_text(json.dumps(index), encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, default=ROOT, help='the repository')
    parser.add_argument('--out', type=Path, default=ROOT/'_docs', help='where the site goes (default: _docs)')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        pages = Path(tmp)/'pages'
        pages.mkdir()
        lay_out(args.root, pages)
        built = subprocess.run([sys.executable, '-m', 'sphinx', '--quiet', '--fail-on-warning', '--keep-going', '-c', args.root/'docs', pages, Path(tmp)/'html'])
        if built.returncode: sys.exit('The site has faults: see above')
        shutil.rmtree(args.out, ignore_errors=True)
        shutil.copytree(Path(tmp)/'html', args.out)
    print(f'{args.out}/index.html')


if __name__ == '__main__': main()
