"""How the numbered notebooks read: their prose, their cells, and the order in which words are introduced.

Prose is what stands in paragraphs, lists and the subtitle. Headings, tables, code, formulas, quotations and
links to a notebook by its name are left out, and so is all that follows a heading "Solutions". A word is a
run of letters or digits; one with a hyphen counts once. The grade is Flesch and Kincaid's, with syllables by
pyphen.

A line of code counts unless it is blank, an import, a directive or a docstring; a function's parameters count
as one line.
All cells are counted, hidden ones and solutions too. The longest is looked for before the solutions.

A word of nbs/glossary.md may be used from the notebook on to which its entry links. If that one has no
number, the word may be used from the first numbered notebook on whose prose links it.
"""
import ast
import re
import statistics
from dataclasses import dataclass
from functools import cache

from tutorial import ROOT, load, source

NUMBERED = re.compile(r'\d\d_\w+')
FENCED = re.compile(r'^```.*?^```[ \t]*$|<details>.*?</details>|<!--.*?-->', re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r'\$\$.*?\$\$|(?<!\\)\$[^$\n]+?\$', re.DOTALL)
QUOTED = re.compile(r'“[^”]*”|"[^"\n]*"')
CODE = re.compile(r'``[^`]*``|`[^`]*`')
EXPORTED = re.compile(r'^#\|\s*exporti?\s*$', re.MULTILINE)
BY_NAME = re.compile(r'\[([\w/]+)\]\((?:[\w/.]*/)?\1\.ipynb[^)]*\)')
LINK = re.compile(r'!?\[([^\]]*)\]\([^)]*\)')
WORD = re.compile(r"[^\W_]+(?:['’.,-][^\W_]+)*")
SENTENCE = re.compile(r'[.!?]+["”’)*_\]]*(?=\s|$)')
NO_PROSE = re.compile(r'\s*(#|\||---)')
ITEM = re.compile(r'^\s*(?:(?:[-*+]|\d+\.)\s+|>\s?)')


# What the house rules ask of the numbered notebooks: (least, most) of each measure.
CORE = {'words': (500, 900), 'cells': (20, 40), 'grade': (0, 9), 'lines': (0, 12), 'early': (0, 0)}
STORY = {'words': (0, 1500), 'cells': (1, 60), 'early': (0, 0)}
RULES = {f'{n:02}': CORE if n < 7 else STORY for n in range(16)}
RULES['07'] = STORY | {'grade': (0, 9), 'lines': (0, 12)}
RULES['15'] = STORY | {'grade': (0, 9)}
# Classes whose cells may be longer: the loop, and what is quoted from the post.
LONGER = {'04': {'Learner'}, '07': {'LRFinderCB', 'Metric'}}

# Where a rule is not kept yet: what is asked in its place. `make prepare` says what is needed no more.
YET = {}


# --- the prose ---

def before_solutions(nb):
    "The cells of a notebook up to its heading 'Solutions'."
    for cell in nb['cells']:
        text = source(cell)
        if cell['cell_type'] == 'markdown' and (match := re.search(r'^#+ Solutions\s*$', text, re.MULTILINE)):
            yield cell | {'source': [text[:match.start()]]}
            return
        yield cell


def blocks(nb):
    "The paragraphs and list items of a notebook, as plain text."
    for cell in before_solutions(nb):
        if cell['cell_type'] != 'markdown': continue
        block = []
        for line in [*FORMULA.sub(' ', FENCED.sub('', source(cell))).splitlines(), '']:
            skipped, item = NO_PROSE.match(line), ITEM.match(line)
            if block and (skipped or item or not line.strip()):
                yield plain(' '.join(block))
                block = []
            if line.strip() and not skipped: block.append(ITEM.sub('', line, count=1).strip())


def plain(text):
    "Markdown without its marks, quotations, code and names of notebooks."
    for pattern in (CODE, BY_NAME): text = pattern.sub(' ', text)
    text = QUOTED.sub(' ', LINK.sub(r'\1', text))
    return re.sub(r'\*+|(?<!\w)_|_(?!\w)', '', text)


def prose(nb):
    "The blocks of a notebook that have words."
    return [block for block in blocks(nb) if WORD.search(block)]


@cache
def syllables(word):
    "How many syllables a word has, by the places where pyphen would hyphenate its parts."
    parts = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", word.lower())
    return sum(len(hyphens().positions(part)) + 1 for part in parts) or 1


@cache
def hyphens():
    from pyphen import Pyphen
    return Pyphen(lang='en_US')


def grade(texts):
    "Flesch and Kincaid's grade: the school year in which one reads this with ease."
    words = [word for text in texts for word in WORD.findall(text)]
    if not words: return 0.
    sentences = sum(1 for text in texts for part in SENTENCE.split(text) if WORD.search(part))
    return .39*len(words)/sentences + 11.8*sum(map(syllables, words))/len(words) - 15.59


# --- the code ---

def length(code):
    "The lines of a cell that do something; a function's parameters are one."
    lines = {n for n, line in enumerate(code.splitlines(), 1) if line.strip() and not line.startswith('#|')}
    try: tree = ast.parse(code)
    except SyntaxError: return len(lines)  # a magic
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)): lines -= lines_of(node)
        if isinstance(node, ast.FunctionDef): lines -= {*range(node.lineno + 1, node.body[0].lineno)}
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            lines -= lines_of(node.body[0]) - {node.lineno}
    return len(lines)


def lines_of(node): return {*range(node.lineno, node.end_lineno + 1)}


def defines(code, names):
    "Does a cell define a class of one of these names?"
    return any(re.search(rf'^class {name}\b', code, re.MULTILINE) for name in names)


# --- all of a notebook ---

@dataclass
class Reading:
    "What one notebook is like to read."
    name: str
    text: list     # its prose, a block each
    links: set     # names of the notebooks that its prose links
    lengths: dict  # {id: lines} of the code cells before the solutions
    longer: set    # ids of those that may be longer
    cells: int
    exported: int

    @property
    def words(self): return sum(len(WORD.findall(block)) for block in self.text)

    @property
    def grade(self): return grade(self.text)

    @property
    def lines(self): return max((n for cell, n in self.lengths.items() if cell not in self.longer), default=0)


def read(path):
    "A notebook's `Reading`."
    nb, shown = load(path), [*before_solutions(load(path))]
    told = ' '.join(source(cell) for cell in shown if cell['cell_type'] == 'markdown')
    links = {link.rpartition('/')[2] for link in re.findall(r'\]\(([\w/.]+)\.ipynb', told)}
    code = {cell['id']: source(cell) for cell in shown if cell['cell_type'] == 'code'}
    lengths = {cell: n for cell, text in code.items() if (n := length(text))}
    longer = {cell for cell, text in code.items() if defines(text, LONGER.get(path.stem[:2], ()))}
    exported = [source(cell) for cell in nb['cells'] if EXPORTED.search(source(cell))]
    return Reading(path.stem, prose(nb), links, lengths, longer, len(nb['cells']), sum(map(length, exported)))


def in_order(root):
    "The numbered notebooks, in reading order."
    return [read(path) for path in sorted((root/'nbs').glob('*.ipynb')) if NUMBERED.fullmatch(path.stem)]


# --- the glossary ---

def glossary(root):
    "Each entry: {its word: the notebook that defines it}."
    path = root/'nbs/glossary.md'
    text = path.read_text(encoding='utf-8') if path.exists() else ''
    return {word: link.rpartition('/')[2] for word, link in
            re.findall(r'^- \*\*(.+?)\*\*.*\]\(([\w/.]+)\.ipynb\)\s*$', text, re.MULTILINE)}


def uses(term):
    "A pattern that finds a term of the glossary, and its plural."
    *first, last = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", term.lower())
    ends = f'{last}(?:e?s)?' + (f'|{last[:-1]}ies' if last.endswith('y') else '')
    return re.compile(r'(?<![\w-])' + r'[\s-]+'.join([*first, f'(?:{ends})']) + r'\b', re.IGNORECASE)


def too_early(readings, words):
    "Words used before they are introduced: {notebook: {word: where it is introduced, or None}}."
    names, found = [reading.name for reading in readings], {}
    for word, home in words.items():
        linking = (reading.name for reading in readings if home in reading.links)
        first = home if home in names else next(linking, None)
        pattern = uses(word)
        for reading in readings[:names.index(first) if first else None]:
            if any(map(pattern.search, reading.text)): found.setdefault(reading.name, {})[word] = first
    return found


# --- the report and the check ---

def limits_of(name):
    "The limits of the notebook of this name, as {measure: (least, most)}."
    return RULES.get(name[:2], {}) | YET.get(name, {})


def breaches(reading, early):
    "What of a notebook is outside its limits, a line each."
    limits, values = limits_of(reading.name), measures(reading, early)
    for what, (least, most) in limits.items():
        if least <= values[what] <= most: continue
        told = f'{reading.name}: {what} {values[what]:.4g}, and {least} to {most} is asked'
        if what == 'lines': told += ': ' + listed(reading.lengths, reading.longer, most)
        if what == 'early': told += ': ' + introduced(early)
        yield told


def measures(reading, early):
    names = 'words', 'cells', 'grade', 'lines'
    return {name: getattr(reading, name) for name in names} | {'early': len(early)}


def listed(lengths, longer, most):
    return ', '.join(f'{cell} has {n}' for cell, n in lengths.items() if n > most and cell not in longer)


def introduced(early):
    return ', '.join(f"{word} ({where or 'no numbered notebook links its definition'})"
                     for word, where in early.items())


def faults(root):
    "What the house rules refuse, a line each."
    readings = in_order(root)
    early = too_early(readings, glossary(root))
    return [fault for reading in readings for fault in breaches(reading, early.get(reading.name, {}))]


def needless(readings, early):
    "Lines of the table YET that a notebook needs no more."
    for reading in readings:
        rules, values = RULES.get(reading.name[:2], {}), measures(reading, early.get(reading.name, {}))
        for what, (_, most) in YET.get(reading.name, {}).items():
            if values[what] <= rules[what][1]: yield f'{reading.name}: {what} needs no line in YET'
            elif values[what] < most:
                yield f'{reading.name}: {what} {values[what]:.4g}, and YET grants {most}'


def report(root):
    "A table, a notebook a line; then the words that are used too early, and what could be tightened."
    readings, index = in_order(root), root/'nbs/index.ipynb'
    early = too_early(readings, glossary(root))
    yield f'{"":13}words  grade  cells  code  longest  median  exported  words a code cell  early'
    for reading in [*([read(index)] if index.exists() else []), *readings]:
        lines, n = [*reading.lengths.values()] or [0], max(len(reading.lengths), 1)
        yield (f'{reading.name:13}{reading.words:5}  {reading.grade:5.1f}  {reading.cells:5}  {n:4}  '
               f'{max(lines):7}  {statistics.median(lines):6.1f}  {reading.exported:8}  '
               f'{reading.words/n:17.0f}  {len(early.get(reading.name, {})):5}')
    for name in sorted(early): yield f'{name} uses early: {introduced(early[name])}'
    yield from needless(readings, early)


def main(): print(*report(ROOT), *faults(ROOT), sep='\n')


if __name__ == '__main__': main()
