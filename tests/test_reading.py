"""tools/reading.py measures prose and not its marks, and refuses each breach of the house rules."""
from pathlib import Path

import pytest
from test_tools import cell, checks, load, notebook, write_notebook

reading = load('reading')
ROOT = Path(__file__).resolve().parent.parent


def markdown_cells(texts): return [cell('markdown', f'm{i}', text) for i, text in enumerate(texts)]


def text_of(*markdown): return reading.prose(notebook(*markdown_cells(markdown)))


# --- what is prose ---

@pytest.mark.parametrize('markdown, prose', [
    ('# A title\n> The answer in a line\n\nOne\ntwo.', ['The answer in a line', 'One two.']),
    ('- first\n- second\n  goes on\n1. third', ['first', 'second goes on', 'third']),
    ('| a | table |\n|---|---|\n| of | words |', []),
    ('Before\n```\ncode = 1\n```\nafter, with `code` and $x_i = 3$.', ['Before', 'after, with   and  .']),
    ('$$\na = b\n$$\nA *weak* and a **strong** word', ['A weak and a strong word']),
    ('See [09_trial](09_trial.ipynb), [lint](view/lint.ipynb) and [the paper](https://x.org/a_b).',
     ['See  ,   and the paper.']),
    ('It says “loss falls” and "rate rises".', ['It says   and  .']),
    ('snake_case stays', ['snake_case stays']),
])
def test_prose_and_not_its_marks(markdown, prose):
    assert text_of(markdown) == prose


def test_solutions_are_no_prose():
    assert text_of('Read.\n\n### Solutions\nHidden.', 'Hidden too.') == ['Read.']
    assert text_of('Solutions are read.', 'And this.') == ['Solutions are read.', 'And this.']


@pytest.mark.parametrize('word, count', [
    ('rate', 1), ('learning', 2), ('temperature', 4), ('learning-rate', 3), ('0.25', 1), ("don't", 1)])
def test_syllables(word, count):
    assert reading.syllables(word) == count


def test_the_grade_is_flesch_and_kincaids():
    text = ['The rate is high. Then training goes on with short steps.']
    syllables = sum(map(reading.syllables, reading.WORD.findall(text[0])))
    assert (len(reading.WORD.findall(text[0])), syllables) == (11, 12)
    assert reading.grade(text) == pytest.approx(.39*11/2 + 11.8*12/11 - 15.59)
    assert reading.grade(text*3) == pytest.approx(reading.grade(text)) and reading.grade([]) == 0
    no_end_in = reading.grade(['A rate of 0.25 is low'])
    assert no_end_in == reading.grade(['A rate of 7 is low.'])


# --- how long is a cell ---

@pytest.mark.parametrize('code, lines', [
    ('#| export\nimport math\nfrom a import b\n\nx = 1\n# a remark\ny = 2', 3),
    ('def f(\n    a, # one\n    b, # two\n):\n    "Add"\n    return a + b', 2),
    ('def f(): "Nothing"', 1), ('class A:\n    """A\n    thing"""\n    b = "c"', 2),
    ('def f(a,\n      b): return a + b', 2),
    ('class A:\n    def __init__(self,\n        b): # a word\n        self.b = b', 3),
    ('%pip install x\ny = 1', 2)])
def test_the_lines_of_a_cell(code, lines):
    assert reading.length(code) == lines


# --- the order of words ---

@pytest.mark.parametrize('term, yes, no', [
    ('Epoch', ['an epoch', 'Epochs', 'per-batch, per epoch.'], ['epochal', 'sub-epoch']),
    ('Batch', ['batches', 'a batch-wise'], ['batched']),
    ('Warm-up', ['a warm-up', 'the warm up', 'Warm-ups'], ['warmup', 'to warm it up']),
    ('Param groups', ['param groups'], ['a param', 'groups']),
    ('Accuracy', ['accuracies', 'accuracy'], ['accurate']),
    ('Holm’s correction', ['Holm’s correction'], ['a correction'])])
def test_a_word_and_its_plural(term, yes, no):
    found = reading.uses(term)
    assert all(map(found.search, yes)) and not any(map(found.search, no))


def story(root, *texts, glossary=''):
    "A repository with numbered notebooks, 08 and on, of these texts."
    (root/'nbs').mkdir()
    (root/'nbs/glossary.md').write_text(f'# Glossary\n\n{glossary}\n', encoding='utf-8')
    for n, text in enumerate(texts, 8):
        write_notebook(root/f'nbs/{n:02}_n.ipynb', cell('markdown', 'text', text))
    return root


EPOCH = '- **Epoch**: one pass over all batches. [09_n](09_n.ipynb)'
NOWHERE = 'no numbered notebook links its definition'
FLEET = '- **Fleet** (of runs): many runs. [fleet](lab/fleet.ipynb)'


@pytest.mark.parametrize('glossary, texts, found', [
    (EPOCH, ('Two epochs.', 'An *epoch* is a pass.'), '08_n: early 1, and 0 to 0 is asked: Epoch (09_n)'),
    (EPOCH, ('No word of it.', 'An *epoch* is a pass.', 'Epochs.'), ''),
    (EPOCH, ('# An epoch\n| epoch |\n\n`epoch`, "epochs", [epoch](epoch.ipynb)', 'An epoch.'), ''),
    (FLEET, ('A fleet.', '[fleet](lab/fleet.ipynb)'), '08_n: early 1, and 0 to 0 is asked: Fleet (09_n)'),
    (FLEET, ('A [fleet](lab/fleet.ipynb).', 'Fleets.'), ''),
    (FLEET, ('Nothing.', 'A fleet.'), f'09_n: early 1, and 0 to 0 is asked: Fleet ({NOWHERE})')])
def test_words_before_they_are_introduced(tmp_path, glossary, texts, found):
    assert '\n'.join(reading.faults(story(tmp_path, *texts, glossary=glossary))) == found


# --- limits ---

def long(words): return ' '.join(['word']*words) + '.'


def test_a_notebook_with_too_many_words_or_cells(tmp_path):
    story(tmp_path, '\n\n'.join([long(10)]*150))
    assert reading.faults(tmp_path) == []
    write_notebook(tmp_path/'nbs/08_n.ipynb', *markdown_cells([long(25)]*61))
    assert reading.faults(tmp_path) == ['08_n: words 1525, and 0 to 1500 is asked',
                                        '08_n: cells 61, and 1 to 60 is asked']


def test_a_core_notebook_that_is_hard_to_read(tmp_path):
    story(tmp_path)
    code = '\n'.join(f'x{i} = {i}' for i in range(13))
    learner = 'class Learner:\n' + '\n'.join(f'    x{i} = {i}' for i in range(13))
    words, path = markdown_cells([long(29)]*20), tmp_path/'nbs/04_n.ipynb'
    write_notebook(path, *words, cell('code', 'long', code), cell('code', 'loop', learner))
    assert reading.faults(tmp_path) == ['04_n: lines 13, and 0 to 12 is asked: long has 13']
    write_notebook(path, cell('markdown', 'm', long(600)), *words, cell('code', 'loop', learner))
    found = reading.faults(tmp_path)
    assert [fault.split(',')[0].split()[:2] for fault in found] == [['04_n:', 'words'], ['04_n:', 'grade']]


def test_a_grant_that_is_needed_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, 'YET', {'08_n': {'words': (0, 2000), 'early': (0, 3)}})
    story(tmp_path, '\n\n'.join([long(16)]*100) + '\n\nAn epoch.', 'An *epoch* is a pass.', glossary=EPOCH)
    assert reading.faults(tmp_path) == []
    assert [*reading.report(tmp_path)][-2:] == ['08_n: words 1602, and YET grants 2000',
                                                '08_n: early 1, and YET grants 3']
    monkeypatch.setattr(reading, 'YET', {'08_n': {'words': (0, 1601), 'early': (0, 1)}})
    assert reading.faults(tmp_path) == ['08_n: words 1602, and 0 to 1601 is asked']


def test_the_report_has_a_line_for_each_notebook():
    told = [*reading.report(ROOT)]
    names = [path.stem for path in sorted((ROOT/'nbs').glob('[01]*.ipynb'))]
    assert [line.split()[0] for line in told[1:len(names) + 2]] == ['index', *names]
    assert reading.YET.keys() <= set(names)


def test_make_test_asks(tmp_path):
    story(tmp_path, 'Two epochs.', 'An *epoch* is a pass.', glossary=EPOCH)
    assert checks.attempt(checks.CHECKS['reading'], tmp_path) == [
        '08_n: early 1, and 0 to 0 is asked: Epoch (09_n)']
