"""Write exercise versions of the notebooks into a folder: what they export has signatures and docstrings,
and no bodies. All that follows, assertions and figures, works once a reader has filled them in.
"""
import argparse
import ast
import json
import re
from pathlib import Path

from tutorial import ROOT, load, notebooks, source

EXPORTED = re.compile(r'^#\|\s*exporti?\s*$', re.MULTILINE)
HINT = "raise NotImplementedError('your turn')"


def blank(nb):
    "The notebook with its exported functions emptied, and without outputs."
    return nb | {'cells': [emptied_cell(cell) for cell in nb['cells']]}


def emptied_cell(cell):
    if cell['cell_type'] != 'code': return cell
    cell = cell | {'outputs': [], 'execution_count': None}
    text = source(cell)
    return cell | {'source': emptied(text).splitlines(True)} if EXPORTED.search(text) else cell


def emptied(text):
    "The code with a hint in place of the body of each function; its docstring stays."
    lines = text.splitlines()
    for function in reversed(outermost(ast.parse(text))):
        body = function.body
        if ast.get_docstring(function): body = body[1:]
        if not body or is_abstract(body): continue
        first, last = body[0], body[-1]
        before = lines[first.lineno - 1][:first.col_offset]  # the header, where the body is on its line
        lines[first.lineno - 1:last.end_lineno] = [before + HINT]
    return '\n'.join(lines)


def outermost(tree):
    "Functions and methods that stand in no other function, from top to bottom."
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef): found.append(node)
        if isinstance(node, ast.ClassDef): found += outermost(node)
    return found


def is_abstract(body):
    return len(body) == 1 and isinstance(body[0], ast.Expr) and getattr(body[0].value, 'value', None) is ...


def filled(empty, original):
    "An exercise version with the exported cells of the original."
    solved = {cell['id']: cell for cell in original['cells']}
    cells = [cell | {'source': solved[cell['id']]['source']} if EXPORTED.search(source(cell)) else cell
             for cell in empty['cells']]
    return empty | {'cells': cells}


def write(root, to):
    for path in notebooks(root):
        if not any(EXPORTED.search(source(cell)) for cell in load(path)['cells']): continue
        target = to/path.relative_to(root/'nbs')
        target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(blank(load(path)), indent=1, ensure_ascii=False)
        target.write_text(f'{text}\n', encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='where the notebooks go')
    write(ROOT, parser.parse_args().folder)


if __name__ == '__main__': main()
