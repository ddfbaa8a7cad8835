"""The page to play with, in a real browser: the same numbers and words as Python; keyboard, phone, themes."""
import importlib.util
import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from cosine_lr import recipes, shapes
from cosine_lr.schedule import Schedule, constant, cosine, exponential, join, linear, polynomial
from cosine_lr.view.explorer import dial
from cosine_lr.view.lint import lint_schedule
from cosine_lr.view.stored import as_tree
from cosine_lr.view.translate import translate

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ['torch', 'optax', 'transformers', 'keras']
STEPS = [2, 7, 100, 1000, 12345]
NUMBER = re.compile(r'(?<![\w.])(\d+\.?\d*(e[-+]?\d+)?|\.\d+)(?![\w.])')
pytestmark = [pytest.mark.slow, pytest.mark.in_browser]


def load(name):
    sys.path.insert(0, str(ROOT/'tools'))
    spec = importlib.util.spec_from_file_location(f'tools_{name}', ROOT/f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "A browser, and the address of the page."
    from playwright.sync_api import sync_playwright
    tool, folder = load('read_site'), tmp_path_factory.mktemp('site')/'play'
    load('docs').add_play(ROOT, folder)
    address = tool.serve(folder)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=tool.chromium(), args=tool.QUIET)
        yield browser, f'{address}/index.html'
        browser.close()


@pytest.fixture
def page(site):
    browser, address = site
    page, faults = browser.new_page(), []
    page.on('pageerror', lambda error: faults.append(f'{error}'))
    page.on('console', lambda told: faults.append(told.text) if told.type == 'error' else None)
    page.goto(address)
    page.locator('#chart path.axis').wait_for()
    yield page
    page.close()
    assert not faults


def ask(page, module, code, *args):
    "What JavaScript gives, in a page, with a module of its own as `m`."
    run = f'async a => {{ const m = await import("./{module}.js"); return {code} }}'
    return page.evaluate(run, args)


# --- schedules to compare ---

def leaf(rng):
    def level(): return rng.choice([0, 1, rng.uniform(-2, 2), rng.uniform(0, 1), round(rng.uniform(0, 9), 1)])
    start, end = rng.sample([0, 1, level() + .001, level() - .003], 2)
    power = rng.choice([.5, 1, 2, 3, rng.uniform(.2, 6)])
    makers = [
        lambda: constant(level()), lambda: linear(start, end), lambda: cosine(start, end),
        lambda: polynomial(start, end, power), lambda: exponential(rng.uniform(.01, 3), rng.uniform(.01, 3)),
        lambda: shapes.one_minus_sqrt(start, end), lambda: shapes.rex(start, end),
        lambda: shapes.k_decay(start, end, power), lambda: shapes.power(start, end, power),
        lambda: shapes.inverse_sqrt(rng.uniform(.1, 200)),
        lambda: shapes.tanh(start, end, rng.uniform(-8, 0), rng.uniform(.5, 5))]
    return rng.choice(makers)()


def nested(rng, depth):
    if depth == 0 or rng.random() < .15: return leaf(rng)
    kind = rng.choice(['join', 'join', 'factor', 'sum', 'product'])
    if kind == 'factor': return rng.choice([.1, 3, rng.uniform(1e-5, 2), -1]) * nested(rng, depth - 1)
    if kind == 'sum': return nested(rng, depth - 1) + rng.choice([leaf(rng), rng.uniform(-1, 1)])
    if kind == 'product': return nested(rng, depth - 1) * leaf(rng)
    n = rng.randint(2, 4)
    at = sorted(rng.sample(range(1, 100), n - 1))
    return join([nested(rng, depth - 1) for _ in range(n)], at=[k/100 for k in at])


def of_the_package():
    "Every recipe and every shape, as its defaults make it, under a peak."
    made = [getattr(recipes, name) for name in recipes.__all__ if name != 'warmup']
    made += [getattr(shapes, name) for name in shapes.__all__ if name.lower() not in ('noisy', 'base')]
    made += [linear, cosine, polynomial, exponential, constant]
    scheds = [make() for make in made] + [recipes.warmup(shapes.rex()), shapes.noisy(cosine(), seed=3)]
    return [form for sched in scheds for form in (sched, .1*sched)]


RNG = random.Random(11)
SCHEDS = of_the_package() + [nested(RNG, RNG.randint(1, 4)) for _ in range(500)]
TREES = [as_tree(sched) for sched in SCHEDS]


def test_every_shape_is_known(page):
    "A shape that is added to the package is added to the page"
    def below(cls):
        for sub in cls.__subclasses__(): yield from [sub, *below(sub)]
    names = {cls.__name__.lower() for cls in below(Schedule) if cls.__module__.startswith('cosine_lr')}
    shapes = {name for name in names if not name.startswith('_')} - {'ramp', 'operation'}
    assert set(ask(page, 'schedule', 'Object.keys(m.FORMULAS)')) == shapes


def test_values(page):
    grid = [*np.linspace(0, 1, 101), -.5, 1.5, *random.Random(1).choices(range(100_000), k=50)]
    positions = [x if x <= 2 else x/100_000 for x in map(float, grid)]
    theirs = ask(page, 'schedule', 'a[0].map(tree => a[1].map(pos => m.value(tree, pos)))', TREES, positions)
    for sched, values in zip(SCHEDS, theirs):
        ours = np.array([sched(pos) for pos in positions])
        assert np.abs(np.array(values) - ours).max() <= 1e-12*max(1, np.abs(ours).max()), sched
    means = ask(page, 'schedule', 'a[0].map(tree => m.mean(tree, 1000))', TREES)
    assert np.allclose(means, [s(np.arange(1000)/1000).mean() for s in SCHEDS], rtol=1e-12, atol=1e-12)


def test_findings_word_for_word(page):
    address = page.url.partition("index.html")[0]
    table, seen = page.request.get(f"{address}lint.json").json(), set()
    code = 'a[0].map(tree => m.lint(tree, a[1], a[2]))'
    for steps in STEPS:
        theirs = ask(page, 'schedule', code, TREES, steps, table)
        for sched, findings in zip(SCHEDS, theirs):
            ours = [vars(finding) for finding in lint_schedule(sched, steps)]
            assert findings == ours, (sched, steps)
            seen |= {finding['cure'] for finding in ours}
    assert len(seen) >= 6 # of the eight that a schedule of this package can have; two are of one cure


def test_three_digits_as_python_writes_them(page):
    rng = random.Random(5)
    numbers = [0, 1, 1.125, 1.375, .5, 999.5, 9.995, 1e-4, 1e-5, 123456, -2.5, 1/3, 2**-10, .0625, 12.25]
    numbers += [rng.uniform(-1, 1)*10**rng.randint(-9, 9) for _ in range(500)]
    assert ask(page, 'schedule', 'a[0].map(x => m.short(x))', numbers) == [f'{x:.3g}' for x in numbers]
    assert [float(text) for text in ask(page, 'code', 'a[0].map(m.num)', numbers)] == numbers


def test_the_knobs_make_what_dial_makes(page):
    settings = [dict(recipe=recipe, peak=peak, warm=warm, floor=floor, cycles=cycles)
                for recipe in ask(page, 'state', 'Object.keys(m.RECIPES)')
                for peak, warm, floor, cycles in [(.1, .05, 0, 1), (3, 0, .1, 4), (1e-4, .5, 1, 3)]]
    assert ask(page, 'state', 'a[0].map(m.dial)', settings) == [as_tree(dial(**each)) for each in settings]


# --- code ---

def with_one_wording(text):
    "1 and 1.0, 0 and -0 are written alike."
    return re.sub(r'-0\.0(?!\d)', '0.0', NUMBER.sub(lambda match: repr(float(match[0])), text))


@pytest.mark.parametrize('library', LIBRARIES)
def test_code_is_what_translate_writes(page, library):
    def translated(tree):
        try: return translate(tree, library, 100)
        except ValueError as error: return f'# {error}\n'
    theirs = ask(page, 'code', 'a[0].map(tree => m.code(tree, a[1], 100))', TREES, library)
    ours = [translated(tree) for tree in TREES]
    assert [*map(with_one_wording, theirs)] == [*map(with_one_wording, ours)]
    assert sum(not text.startswith('#') for text in ours) > 10 # some can be said


def test_the_code_makes_the_schedule(page):
    import torch
    texts = ask(page, 'code', 'a[0].map(tree => [m.code(tree, "cosine_lr", 50), m.code(tree, "torch", 50)])',
                TREES)
    for sched, (ours, theirs) in zip(SCHEDS, texts):
        opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=.1)
        scope = dict(optimizer=opt)
        exec(theirs, scope)
        scale = max(1, np.abs(sched(np.arange(50)/50)).max())
        for step in range(50): assert abs(scope['value'](step) - sched(step/50)) <= 1e-9*scale, sched
        scope = {}
        exec(ours.partition('\n\n')[0], scope)
        made = eval(ours.rstrip().removesuffix(')').partition(' lr=')[2], scope)
        assert np.allclose(made(np.linspace(0, 1, 51)), sched(np.linspace(0, 1, 51)), rtol=1e-14, atol=0)


def test_ours_can_be_pasted(page):
    import torch
    code = page.locator('#code').inner_text()
    scope = dict(optimizer=torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.))
    exec(code, scope)
    assert 'ScheduleLR' in code and scope['optimizer'].param_groups[0]['lr'] == dial()(0.)


# --- the address ---

FORGED = ['steps=-1', 'steps=1e99', 'schedule=', 'schedule=constructor+1+0+0+1',
          'schedule=cosine+-1+0+0+1', 'schedule=cosine+NaN+0+0+1', 'schedule=cosine+1+0+0+1e9',
          'schedule=cosine+1+9+0+1', '__proto__=x', 'library=toString', 'match=%00',
          'x=<img src=x onerror=alert(1)>', '%', '&&&==', '{"steps":1}']


@pytest.mark.parametrize('text', FORGED)
def test_a_forged_address_is_left_out(page, site, text):
    page.goto('about:blank')
    page.goto(f'{site[1]}#{text}')
    page.locator('#chart path.axis').wait_for()
    assert page.locator('#cards fieldset').count() == 2 and page.locator('#steps').input_value() == '1000'
    assert text in ('&&&==',) or 'could not be read' in page.locator('#said').inner_text()
    assert page.locator('img').count() == 0


def test_a_link_stores_the_state(page, site):
    page.locator('#steps').fill('500')
    page.locator('[name=recipe]').first.select_option('wsd')
    page.locator('[name=floor]').first.fill('0.1')
    page.locator('#match').select_option('mean')
    page.locator('#library').select_option('torch')
    page.locator('#add').click()
    shown = {name: page.locator(f'#{name}').inner_text() for name in ('numbers', 'doubts', 'code', 'title')}
    address = page.url
    page.goto('about:blank')
    page.goto(address)
    page.locator('#chart path.axis').wait_for()
    for name, text in shown.items(): assert page.locator(f'#{name}').inner_text() == text
    page.goto(f'{site[1]}#' + 'schedule=linear+1+0+0+2&'*4) # another address of the page that is open
    page.wait_for_function('document.querySelectorAll("fieldset").length == 4')


def test_the_same_mean(page):
    page.locator('#match').select_option('mean')
    rows = [row.split('\t') for row in page.locator('#numbers').inner_text().splitlines()]
    assert len({mean for _, _, mean, *_ in rows}) == 1 and len({peak for _, peak, *_ in rows}) == 2
    assert page.locator('[name=peak]').nth(1).is_disabled()
    page.locator('#match').select_option('own')
    assert page.locator('[name=peak]').nth(1).input_value() == '0.1'


def test_a_wrong_number_is_marked_and_not_used(page):
    before = page.locator('#numbers').inner_text()
    page.locator('[name=peak]').first.fill('-1')
    assert page.locator('[name=peak]').first.get_attribute('aria-invalid') == 'true'
    assert page.locator('#numbers').inner_text() == before


# --- readers ---

NAMED = '''() => [...document.querySelectorAll('input, select, button, [tabindex="0"], a[href]')].filter(
    e => !e.ariaLabel && !(e.labels?.length) && !e.textContent.trim()).map(e => e.outerHTML)'''
FOCUS = '(e => e.id || e.name || e.className || e.tagName)(document.activeElement)'


def test_by_keyboard(page):
    order = []
    for _ in range(40):
        page.keyboard.press('Tab')
        name = page.evaluate(FOCUS)
        if name == 'BODY': break
        order.append(name)
        if name == 'recipe' and order.count('recipe') == 1: page.keyboard.press('ArrowDown') # linear
        if name == 'peak' and order.count('peak') == 1: page.keyboard.press('ArrowUp') # .11
        if name == 'warm' and order.count('warm') == 1: page.keyboard.press('ArrowRight') # .06
        if name == 'cycles' and order.count('cycles') == 1: page.keyboard.press('End') # 8
    knobs = ['recipe', 'peak', 'warm', 'floor', 'cycles', 'remove']
    rest = ['wide', 'shown', 'library', 'copy', 'link', 'wide']
    assert order == ['A', 'steps', 'match', 'add', *knobs, *knobs, *rest]
    assert 'schedule=linear+0.11+0.06+0+8&' in page.url
    page.locator('#add').focus()
    page.keyboard.press('Enter')
    assert page.locator('fieldset').count() == 3 and page.evaluate(FOCUS) == 'recipe'
    page.locator('[name=remove]').first.focus()
    page.keyboard.press('Space')
    assert page.locator('fieldset').count() == 2 and page.evaluate(FOCUS) == 'recipe'


def test_a_screen_reader_hears_names_and_changes(page):
    assert page.evaluate(NAMED) == []
    tree = page.locator('body').aria_snapshot()
    for heard in ('heading "Play with schedules"', 'img "Learning rate of 2 schedules over 1,000 steps"',
                  'group "Schedule 1"', 'slider "Warm-up"', 'spinbutton "Peak"',
                  'table "What the optimizer sees"', 'rowheader "1: cosine"', 'button "Remove schedule 2"'):
        assert heard in tree, tree
    assert page.locator('[name=warm]').first.get_attribute('aria-valuetext') == '5 %'


@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('width', [320, 1280])
def test_nothing_is_cut_off(site, theme, width, tmp_path):
    browser, address = site
    page = browser.new_page(color_scheme=theme, viewport=dict(width=width, height=800))
    four = '&'.join('schedule=one_cycle+0.000123+0.3+0.01+8' for _ in range(4))
    page.goto(f'{address}#library=torch&{four}&{"x"*60}=1')
    page.locator('#chart path.axis').wait_for()
    assert page.evaluate('document.documentElement.scrollWidth') == width
    boxes = page.eval_on_selector_all('svg text', 'els => els.map(e => e.getBoundingClientRect().right)')
    assert max(boxes) <= width
    page.screenshot(path=tmp_path/f'{theme}-{width}.png', full_page=True)
    page.close()


def luminance(color):
    parts = [int(color[i:i + 2], 16)/255 for i in (1, 3, 5)]
    return np.dot([.2126, .7152, .0722], [x/12.92 if x <= .04045 else ((x + .055)/1.055)**2.4 for x in parts])


def test_colours_can_be_read():
    css = (ROOT/'docs/play/play.css').read_text(encoding='utf-8')
    light, dark = re.findall(r':root \{(.*?)\}', css, re.DOTALL)
    for theme in (light, dark):
        colours = dict(re.findall(r'--(\w+): (#\w{6});', theme))
        for name in ('ink', 'one', 'two', 'three', 'four'):
            for ground in ('paper', 'soft'):
                lo, hi = sorted(luminance(colours[each]) for each in (name, ground))
                assert (hi + .05)/(lo + .05) >= 4.5, (name, ground)
