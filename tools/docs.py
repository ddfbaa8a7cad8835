"""Build the site: the notebooks with their outputs, and a reference made from docstrings and signatures.

Everything a page needs (formulas, search, fonts) comes with it: the site works without a network.
"""
import argparse
import ast
import importlib
import inspect
import json
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from types import GenericAlias

import numpy as np
import yaml

from cosine_lr import check
from cosine_lr.view.lint import FINDINGS
import blank
import llms
from explain import SECTIONS
from tutorial import PACKAGE, ROOT, load, notebooks, settings, source

REPOSITORY = '{git_url}/blob/{branch}'.format_map(settings(ROOT))
COLAB = 'https://colab.research.google.com/github/{user}/{repo}/blob/{branch}'.format_map(settings(ROOT))
FENCED = re.compile(r'```python\n(.+?)\n```', re.DOTALL)
ON_SITE = re.compile(rf'\[([^]]*)\]\({re.escape(llms.SITE)}/([\w/]*)\)')  # folders, and the site itself
LINK = re.compile(r'\]\(([^)#:]+)(#[^)]*)?\)')
TREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def title(nb, name):
    "The notebook's question, its first heading."
    for cell in nb['cells']:
        if match := re.search(r'^# (.+)$', source(cell), re.MULTILINE): return match[1]
    raise ValueError(f'{name} has no heading')


def module_of(nb):
    "The module that a notebook exports, or None."
    for cell in nb['cells']:
        if match := re.search(r'^#\|\s*default_exp\s+(\S+)', source(cell), re.MULTILINE): return match[1]


# --- pages ---

def page_of(nb, folder='nbs'):
    "The notebook with nbdev's directives obeyed, and its prose as the site shows it; it stands in `folder`."
    hidden = re.compile(r'^#\|\s*(default_exp|hide\s*$)', re.MULTILINE)
    kept = [cell for cell in nb['cells'] if not hidden.search(source(cell))]
    for cell in kept:
        text = source(cell)
        if re.search(r'^#\|\s*echo:\s*false', text, re.MULTILINE):
            cell['metadata'] = {'tags': ['remove-input']}
        if cell['cell_type'] == 'code':
            cell['source'] = re.sub(r'^#\|.*\n?', '', text, flags=re.MULTILINE)
            for output in cell.get('outputs', ()): lead_to_pages(output.get('data', {}))
        else: cell['source'] = linked(without_fetched_images(text), folder)
    return nb | {'cells': kept}


def lead_to_pages(data):
    "Links to notebooks in what a cell shows, which Sphinx leaves as they are, lead to their pages."
    if table := ''.join(data.get('text/markdown', '')):
        data['text/markdown'] = re.sub(r'(\]\([\w./]+)\.ipynb\b', r'\1.html', table)


def signpost(nb, page):
    "A cell for the top of a page: where the notebook can be run, and what it defines, each name with a link."
    up, name = '../'*page.as_posix().count('/'), page.as_posix()
    ways = [f'[Open in Colab]({COLAB}/nbs/{name})',
            f'<a href="{up}filled/{name}" download>Try it filled in</a>']
    lines = []
    if exported := module_of(nb):
        module = importlib.import_module(f'{PACKAGE}.{exported}')
        blank_one = f'<a href="{up}blank/{name}" download>Try it blank</a>'
        ways.append(f'{blank_one}, with the code left for you to write')
        lines = ['', '<details><summary>What this notebook defines</summary>', '',
                 *(f'- [`{each}`]({up}{reference_page(nb)}.md#{each.lower()}){about(module, each)}'
                   for each in module.__all__), '', '</details>']
    text = '\n'.join([' · '.join(ways), *lines])
    return dict(cell_type='markdown', id='signpost', metadata={}, source=text)


def about(module, name):
    "What a docstring says first, if it is the module's own thing."
    thing = getattr(module, name)
    if not defined_in(module, thing) or not thing.__doc__: return ''
    first = inspect.getdoc(thing).split('\n\n')[0]  # it may stand on two lines
    return f": {' '.join(first.split())}"


def without_fetched_images(text):
    "Images that would be fetched from elsewhere, as their text."
    return re.sub(r'!\[([^]]*)\]\(https?://[^)]*\)', r'\1', text)


def linked(text, folder):
    "Links to files of the repository that are no pages lead to the repository; those to the site stay on it."
    def target(match):
        path = posixpath.normpath(posixpath.join(folder, match[1]))
        if path.startswith(('nbs/', 'docs/readme/')): return match[0]
        return f"](<{REPOSITORY}/{path}>{match[2] or ''})"
    up = posixpath.relpath('nbs', folder)
    return ON_SITE.sub(rf'<a href="{up}/\2index.html">\1</a>', LINK.sub(target, text))


# --- the reference ---

def first_use(name, nb):
    "The first code after the definition that uses `name`: in a cell, which tests run, or in the text."
    defined = False
    for cell in nb['cells']:
        code = source(cell)
        if re.search(r'^#\|\s*exporti?\b', code):
            defined |= bool(re.search(rf'^(def|class) {name}\b|^{name} *=', code, re.MULTILINE))
        elif defined:
            texts = [code] if cell['cell_type'] == 'code' else FENCED.findall(code)
            use = next((text for text in texts if re.search(rf'\b{name}\b', text)), None)
            if use: return re.sub(r'^#\|.*\n', '', use, flags=re.MULTILINE).strip()


def example_of(name, nb, module):
    "The first use of `name`, or of a public name that needs it, as a function needs the class it returns."
    own = {other: thing for other, thing in vars(module).items() if defined_in(module, thing)}
    code = {other: inspect.getsource(thing) for other, thing in own.items()}
    waiting = [name]
    for candidate in waiting:
        if candidate in module.__all__ and (example := first_use(candidate, nb)): return example
        waiting += [other for other, text in code.items()
                    if other not in waiting and re.search(rf'\b{candidate}\b', text)]


def defined_in(module, thing):
    return (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ == module.__name__


def reference(nb, path, root=ROOT):
    "A page for one module: each public name with its signature, its comments, its errors, and an example."
    module = importlib.import_module(f'{PACKAGE}.{module_of(nb)}')
    file = f"{module.__name__.replace('.', '/')}.py"
    page = posixpath.relpath(path.relative_to(root/'nbs').as_posix(), posixpath.dirname(reference_page(nb)))
    yield (f'# `{module.__name__}`\n\n{module.__doc__}\n\nTaught in [{title(nb, path.name)}]({page}), '
           f'which exports [{file}](<{REPOSITORY}/{file}>)\n')
    shown = importlib.import_module(PACKAGE).__all__
    for name in module.__all__:
        yield f'## {name}\n\n{entry(getattr(module, name), 3)}'
        if example := example_of(name, nb, module): yield f'From the notebook:\n\n```python\n{example}\n```\n'
        elif name in shown: raise ValueError(f'{PACKAGE}.{name} has no example in {path.name}')


def reference_page(nb): return f"reference/{module_of(nb).replace('.', '/')}"


def signature(thing):
    "The call, a parameter a line, with the comment on each."
    if inspect.isclass(thing) and issubclass(thing, Exception): return f'{thing.__name__}()'  # Python's own
    notes, lines, before = told(thing, 'Args'), [], None
    for p in inspect.signature(thing).parameters.values():
        if p.name == 'self': continue
        named_only = p.kind is p.KEYWORD_ONLY
        if named_only and (before is None or before.kind is p.POSITIONAL_OR_KEYWORD): lines.append('    *,')
        note = f' # {notes[p.name]}' if p.name in notes else ''
        lines.append(f'    {parameter(p)},{note}')
        before = p
    result = inspect.signature(thing).return_annotation
    end = ')' if result is inspect.Signature.empty else f') -> {kind(result)}'
    word = 'class' if inspect.isclass(thing) else 'def'
    return '\n'.join([f'{word} {thing.__name__}(', *lines, end]) if lines else f'{thing.__name__}({end}'


def parameter(p):
    stars = {p.VAR_POSITIONAL: '*', p.VAR_KEYWORD: '**'}.get(p.kind, '')
    default = '' if p.default is p.empty else value(p.default)
    if p.annotation is p.empty: return f'{stars}{p.name}' + (f'={default}' if default else '')
    return f'{stars}{p.name}: {kind(p.annotation)}' + (f' = {default}' if default else '')


def kind(annotation):
    "An annotation without the names of modules."
    return re.sub(r'(?:\w+\.)+', '', inspect.formatannotation(annotation))


def value(default):
    "A default as a reader would write it, an array in a few words."
    if isinstance(default, np.ndarray):
        return f'<{len(default)} values from {default[0]:g} to {default[-1]:g}>'
    return getattr(default, '__name__', None) or repr(default)


def told(thing, section):
    "{name: text} of a section of a docstring, where tools/explain.py has put the comments."
    text = section_of(thing, section)
    found = re.findall(r'^ {4}\**(\w+): (.*(?:\n {8}.*)*)', text, re.MULTILINE)
    return {name: ' '.join(note.split()) for name, note in found}


def section_of(thing, name):
    "The lines of a section of a docstring."
    text = re.sub(r'\n\nTaught in http.*', '', inspect.getdoc(thing) or '')
    parts = re.split(r'^(Args|Attributes|Returns):\n', text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2])).get(name, '')


def raised(thing, seen=None):
    "Each error that it, or a function of its module that it calls, raises: (type, message), from the source."
    seen = set() if seen is None else seen
    if inspect.isclass(thing):
        for name in ('__init__', '__post_init__'): yield from raised(getattr(thing, name, None), seen)
    if not inspect.isfunction(thing) or not thing.__module__.startswith(PACKAGE) or thing in seen: return
    seen.add(thing)
    try: tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except OSError: return  # a dataclass wrote it
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call): yield from error_of(node.exc)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = thing.__globals__.get(node.func.id)
            home = getattr(called, '__module__', '')
            if home == check.__name__: yield from refused(called, node, thing.__globals__)
            elif home == thing.__module__: yield from raised(called, seen)


def error_of(call):
    "The error that a call in the source makes, as (type, message)."
    if isinstance(call.func, ast.Name) and call.args: yield call.func.id, message(call.args[0])


def refused(called, call, names):
    "What a check says of a wrong argument, as (type, message): it is called with one; `names`: its globals."
    if called is check.refuse and isinstance(call.args[0], ast.Constant):
        yield 'ValueError', f'{call.args[0].value} must be {message(call.args[2])}'
    try:
        name, *others = [eval(ast.unparse(part), names) for part in [call.args[0], *call.args[2:]]]
        bounds = {part.arg: eval(ast.unparse(part.value), names) for part in call.keywords}
    except (NameError, SyntaxError): return  # it depends on what is known in a run alone
    try: called(name, object(), *others, **bounds)
    except (TypeError, ValueError) as e:
        if str(e).startswith(f'{name} '): yield type(e).__name__, without_got(str(e))


def message(node):
    "An error's text as it stands in the source, up to what was got; an ellipsis for what is filled in."
    pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = ''.join(str(piece.value) if isinstance(piece, ast.Constant) else '…' for piece in pieces)
    return without_got(text)


def without_got(text): return re.split(r'[,;]? got ', text)[0]


def entry(thing, level):
    "Signature and docstring, attributes, what comes back and what is raised; a class's public methods too."
    if isinstance(thing, dict): return f"A dictionary with {', '.join(f'`{key!r}`' for key in thing)}.\n\n"
    # An alias as dict[str, float] is no class, though Python 3.10 says so.
    if isinstance(thing, GenericAlias) or not inspect.isclass(thing) and not inspect.isfunction(thing):
        return f'`{thing!r}`\n\n'
    if not thing.__doc__: raise ValueError(f'{thing.__name__} has no docstring')
    parts = [f'```python\n{signature(thing)}\n```', f"*{SECTIONS.sub('', inspect.getdoc(thing))}*"]
    own = told(thing, 'Attributes')
    if own: parts.append('Attributes\n' + ''.join(f'\n- `{name}`: {what}' for name, what in own.items()))
    if what := section_of(thing, 'Returns').strip(): parts.append(f'Returns {what}')
    errors = dict.fromkeys(raised(thing))
    if errors: parts.append('Raises\n' + ''.join(f'\n- `{kind}`: {what}' for kind, what in errors))
    for name, method in public_methods(thing):
        parts.append(f"{'#'*level} {thing.__name__}.{name}\n\n{entry(method, level + 1)}".rstrip())
    return '\n\n'.join(parts) + '\n\n'


def public_methods(thing):
    "The documented methods of a class, also those of the private classes that it is built from."
    for name, method in [pair for part in parts(thing) for pair in vars(part).items()]:
        method = getattr(method, '__func__', method)
        if inspect.isfunction(method) and method.__doc__ and not name.startswith('_'): yield name, method


def parts(thing):
    "A class after its private bases, but for those of a public base, whose entry shows them."
    line = getattr(thing, '__mro__', ())
    shown = {part for base in line[1:] if not base.__name__.startswith('_') for part in base.__mro__}
    return [part for part in reversed(line) if part not in shown]


# --- the site ---

def lay_out(root, to):
    "Write the pages that Sphinx reads."
    base, modules = root/'nbs', []
    shutil.copytree(root/'docs'/'readme', to.parent/'docs'/'readme', dirs_exist_ok=True)
    for path in notebooks(root):
        nb, page = load(path), path.relative_to(base)
        if module_of(nb):
            modules.append(reference_page(nb))
            write(to/f'{modules[-1]}.md', '\n'.join(reference(nb, path, root)))
        shown = page_of(nb, f"nbs/{page.parent.as_posix()}")
        top = next(i for i, cell in enumerate(shown['cells']) if cell['cell_type'] == 'markdown')
        if page.name != 'index.ipynb': shown['cells'].insert(top + 1, signpost(nb, page))
        write(to/page, json.dumps(shown))
    for path in base.glob('*.md'): write(to/path.name, path.read_text(encoding='utf-8'))
    index = load(to/'index.ipynb')
    chapters, alone = sections(root)
    alone.remove('index.ipynb')
    trees = ''.join(TREE.format(caption=caption, pages='\n'.join(map(without_suffix, pages)))
                    for caption, pages in (chapters | {'Reference': alone + modules}).items())
    index['cells'].append(dict(cell_type='markdown', id='contents', metadata={}, source=trees))
    write(to/'index.ipynb', json.dumps(index))


def add_play(root, to):
    "The page to play with, which reads the texts of its findings from lint.json."
    shutil.copytree(root/'docs'/'play', to)
    write(to/'lint.json', json.dumps(FINDINGS, indent=1, ensure_ascii=False))


def only_notebooks(folder, names):
    "What of a folder is neither a notebook nor a folder of them, for `shutil.copytree`."
    return [name for name in names if name.startswith('.') or '.' in name and not name.endswith('.ipynb')]


def sections(root):
    "The site's sidebar, which nbdev and Quarto use too: {caption: pages}, and the pages that stand alone."
    sidebar = yaml.safe_load((root/'nbs/sidebar.yml').read_text(encoding='utf-8'))
    contents = sidebar['website']['sidebar']['contents']
    return ({part['section']: part['contents'] for part in contents if isinstance(part, dict)},
            [page for page in contents if isinstance(page, str)])


def without_suffix(page): return page.removesuffix('.ipynb').removesuffix('.md')


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--root', type=Path, default=ROOT, help='the repository')
    parser.add_argument('--out', type=Path, default=ROOT/'_docs', help='where the site goes (default: _docs)')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        pages, html = Path(tmp)/'pages', Path(tmp)/'html'
        pages.mkdir()
        lay_out(args.root, pages)
        options = ['--quiet', '--fail-on-warning', '--keep-going', '-c', args.root/'docs']
        built = subprocess.run([sys.executable, '-m', 'sphinx', *options, pages, html])
        if built.returncode: sys.exit('The site has faults: see above')
        add_play(args.root, html/'play')
        llms.write(args.root, html)
        blank.write(args.root, html/'blank')
        shutil.copytree(args.root/'nbs', html/'filled', ignore=only_notebooks)
        shutil.rmtree(args.out, ignore_errors=True)
        shutil.copytree(html, args.out)
    print(f'{args.out}/index.html')


if __name__ == '__main__': main()
