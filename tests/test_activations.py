"""activations.py against NumPy and SciPy: curves, derivatives, dead units, perplexities."""
import argparse
import re
import struct

import numpy as np
import pytest
import scipy.special
import scipy.stats

import activations
import utils
from conftest import run_lesson
from activations import tf

ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805     # Klambauer et al. 2017
BY_HAND = {  # the activations, independently, in float64
    'relu': lambda x: np.where(x > 0, x, 0),
    'leaky_relu': lambda x: np.where(x > 0, x, 0.01 * x),
    'elu': lambda x: np.where(x > 0, x, np.expm1(x)),
    'selu': lambda x: SCALE * np.where(x > 0, x, ALPHA * np.expm1(x)),
    'sigmoid': scipy.special.expit,
    'tanh': np.tanh,
}
QUICK = 'activations.py --batch-size 50 --steps 61 --report-every 30 --lr 0.01 --data '


@pytest.fixture(scope='module')
def curves():
    """The lesson's grid, {name: (values, slopes)} and {name: flat regions}."""
    return activations.show_activations()


@pytest.fixture(scope='module')
def quick(shapes, tmp_path_factory):
    """A short run in another folder, and its folder of pictures."""
    folder = tmp_path_factory.mktemp('run')
    return run_lesson(QUICK + shapes + ' --plot pictures', cwd=folder), folder / 'pictures'


def numbers(log, name):
    """The numbers of a line of the log that begins with a name."""
    return np.array(re.search(r'^ *%s  +([-\d. ]+)$' % re.escape(name), log, re.M).group(1).split(),
                    float)


def rows(log):
    """The last table as {(name, rate): (test accuracy, dead, flat, perplexity)}."""
    table = log[log.index('activation    rate'):].splitlines()[1:]
    return {(words[0], float(words[1])): [float(word.rstrip('%')) for word in words[2:]]
            for words in map(str.split, table)}


@pytest.mark.parametrize('name', BY_HAND)
def test_values_and_derivatives_against_numeric_differences(name, curves):
    grid, both, _ = curves
    assert set(both) == set(BY_HAND)
    values, slopes = both[name]
    x, h = grid.astype(np.float64), 1e-5
    np.testing.assert_allclose(values, BY_HAND[name](x), atol=2e-6)
    numeric = (BY_HAND[name](x + h) - BY_HAND[name](x - h)) / (2 * h)
    smooth = np.abs(x) > 2 * h                                 # not across the corner at 0
    np.testing.assert_allclose(slopes[smooth], numeric[smooth], atol=2e-6)


def test_flat_regions_are_where_the_closed_form_says(curves):
    _, _, regions = curves
    bound = activations.FLAT
    edge_sigmoid = -scipy.special.logit((1 - np.sqrt(1 - 4 * bound)) / 2)  # s (1 - s) = bound
    edge_tanh = np.arctanh(np.sqrt(1 - bound))                             # 1 - t^2 = bound
    for name, expected in [
            ('relu', [(-8, 0)]), ('leaky_relu', []), ('elu', [(-8, np.log(bound))]),
            ('selu', [(-8, np.log(bound / ALPHA / SCALE))]),
            ('sigmoid', [(-8, -edge_sigmoid), (edge_sigmoid, 8)]),
            ('tanh', [(-8, -edge_tanh), (edge_tanh, 8)])]:
        assert len(regions[name]) == len(expected)
        np.testing.assert_allclose(np.reshape(regions[name], -1), np.reshape(expected, -1),
                                   atol=0.0011)                # the grid's step, and rounding


def test_flat_regions_of_a_hand_made_curve():
    slopes = np.array([0, 0.001, 1, -0.004, -1, 0, 0])
    assert activations.flat_regions(np.arange(7), slopes) == [(0, 1), (3, 3), (5, 6)]
    assert activations.flat_regions(np.arange(3), np.zeros(3)) == [(0, 2)]
    assert activations.flat_regions(np.arange(3), np.ones(3)) == []


def built(name, count=40):
    """A network, its variables and images whose first pixel is bright in image 0 alone."""
    images = np.full([count, 784], -0.5, np.float32)
    images[0, 0] = 0.5
    split = utils.Split(images, np.eye(10, dtype=np.float32)[np.arange(count) % 10])
    flags = argparse.Namespace(seed=1, batch_size=10)
    net = activations.build_graph(flags, split, name, 0.001)
    with net.graph.as_default():
        return net, tf.trainable_variables(), split


@pytest.mark.parametrize('name, low, dead_units', [
    ('relu', -1, 8), ('leaky_relu', -1e6, 0), ('elu', -6, 8), ('elu', -5, 0), ('tanh', -4, 8),
    ('tanh', 4, 8), ('tanh', 3, 0), ('sigmoid', 6, 8), ('sigmoid', -5, 0)])
def test_dead_units_and_flat_outputs_on_a_hand_made_network(name, low, dead_units):
    net, variables, split = built(name)
    assert [variable.shape.as_list() for variable in variables] == [
        [784, 128], [128], [128, 128], [128], [128, 10], [10]]
    values = [np.zeros(variable.shape.as_list(), np.float32) for variable in variables]
    first, second = values[1], values[3]
    first[:], second[:] = 0.5, 0.5           # on no flat ground, whatever the image
    first[:5], second[:3] = low, low         # eight units away from the middle
    values[0][0, 10], first[10] = 1000, 0    # bright in image 0 alone: +500; else -500
    with utils.session(net.graph) as session:
        session.run(net.init)
        for variable, value in zip(variables, values):
            variable.load(value, session)
        dead, flat, perplexity, accuracy = session.run(
            [net.dead, net.flat, net.perplexity, net.accuracy],
            {net.x: split.images, net.y: split.labels})
    turned = {'relu': 39 / 40, 'leaky_relu': 0, 'elu': 39 / 40}.get(name, 1)  # share of unit 10
    assert dead == pytest.approx((dead_units + (turned == 1)) / 256, abs=1e-6)
    assert flat == pytest.approx((dead_units + turned) / 256, abs=1e-6)
    assert perplexity == pytest.approx(10, abs=1e-5)  # ten equal logits: as uncertain as it gets
    assert accuracy * len(split.labels) == pytest.approx(4)  # all taken for class 0


def test_perplexity_of_a_network_is_that_of_the_probabilities_it_gives():
    net, variables, split = built('elu')
    with utils.session(net.graph) as session:
        session.run(net.init)
        feed = {net.x: split.images, net.y: split.labels}
        found, values = session.run([net.perplexity, variables], feed)
    a = split.images.astype(np.float64)
    for weights, biases in zip(values[0:4:2], values[1:4:2]):
        a = BY_HAND['elu'](a.dot(weights) + biases)
    given = scipy.special.softmax(a.dot(values[4]) + values[5], axis=1)[split.labels > 0]
    assert found == pytest.approx(1 / scipy.stats.gmean(given), rel=1e-5)
    assert found == pytest.approx(activations.model_perplexity(given), rel=1e-5)


@pytest.mark.parametrize('name, variance', [
    ('relu', 2 / 784), ('leaky_relu', 2 / 784), ('elu', 2 / 784), ('selu', 1 / 784),
    ('sigmoid', 2 / (784 + 128)), ('tanh', 2 / (784 + 128))])
def test_initial_weights_suit_the_activation(name, variance):
    net, variables, _ = built(name)
    with utils.session(net.graph) as session:
        session.run(net.init)
        weights = session.run(variables[0])
    assert weights.var() == pytest.approx(0.7737 * variance, rel=0.03)  # the cut takes the rest


@pytest.mark.parametrize('k', [1, 2, 3, 10, 1000])
def test_uniform_over_k_has_perplexity_k(k):
    assert activations.perplexity(np.full(k, 1 / k)) == pytest.approx(k, rel=1e-12)


def test_the_three_perplexities():
    random = np.random.RandomState(0)
    p = random.dirichlet(np.ones(7))
    assert activations.perplexity(p) == pytest.approx(2 ** scipy.stats.entropy(p, base=2))
    assert activations.perplexity(np.append(p, 0)) == pytest.approx(np.exp(scipy.stats.entropy(p)))
    assert activations.perplexity(np.array([0, 1.0, 0])) == 1
    q = random.uniform(0.01, 1, 50)
    assert activations.model_perplexity(q) == pytest.approx(1 / scipy.stats.gmean(q))
    # A test set drawn as often as the model believes: the model's is the distribution's.
    drawn = np.repeat([0.5, 0.25, 0.25], [2, 1, 1])
    assert activations.model_perplexity(drawn) == pytest.approx(
        activations.perplexity(np.array([0.5, 0.25, 0.25])))
    # Ten words of 1/8 each and two of 1/32, however they are cut into sentences.
    words = np.repeat([1 / 8, 1 / 32], [10, 2])
    for lengths in ([12], [4, 8], [1] * 12):
        sentences = [part.prod() for part in np.split(words, np.cumsum(lengths)[:-1])]
        assert activations.word_perplexity(sentences, lengths) == pytest.approx(
            2 ** ((10 * 3 + 2 * 5) / 12))


def test_the_log_holds_the_concepts(quick):
    log, z = quick[0].stdout, [3, 1, -3]
    p = scipy.special.softmax(z)
    np.testing.assert_allclose(numbers(log, 'softmax of 3, 1, -3, by hand'), p, atol=5e-5)
    by_tensorflow = re.findall(r'^   by TensorFlow +([\d. ]+)$', log, re.M)
    np.testing.assert_allclose(np.array(by_tensorflow[0].split(), float), p, atol=5e-5)
    loss = scipy.special.logsumexp(z) - 3
    assert float(by_tensorflow[1]) == pytest.approx(loss, abs=5e-5)
    assert numbers(log, 'cross entropy with 1, 0, 0, by hand') == pytest.approx(loss, abs=5e-5)
    assert numbers(log, 'sum') == 1
    assert numbers(log, 'perplexity of that softmax') == pytest.approx(
        np.exp(scipy.stats.entropy(p)), abs=5e-5)
    np.testing.assert_array_equal(numbers(log, 'of dice with 2, 6, 20 sides'), [2, 6, 20])
    assert numbers(log, 'of a model: samples at 1/2, 1/4, 1/4, 1/10') == pytest.approx(
        320 ** 0.25, abs=5e-5)
    assert numbers(log, 'per word: 4, 6, 2 words at 2^-12, 2^-24, 2^-10') == pytest.approx(
        2 ** (46 / 12), abs=5e-5)
    vector, draw = numbers(log, 'dropout keeps 0.5 of'), numbers(log, 'enlarged by 2')
    np.testing.assert_array_equal(vector, [1, 2, 3, 4, 5])
    assert set(draw / vector) == {0, 2}
    # Of 20,000 draws, the standard deviation of the mean is a 141st, of the share a 632nd.
    np.testing.assert_allclose(numbers(log, 'mean of 20000 draws') / vector, 1, atol=4 / 141)
    assert numbers(log, 'share kept') == pytest.approx(0.5, abs=4 / 632)
    assert 'flatten (2, 28, 28) to (2, 784) and back to (2, 28, 28), equal: True' in log


def test_quick_run(quick):
    run, _ = quick
    assert (run.returncode, run.stderr) == (0, '')
    assert re.match(r'activations\.py  data .*shapes\.npz \(600/200/200 images\)  seed 42',
                    run.stdout)
    tests = re.findall(r'^Test accuracy: ([\d.]+)% \(\d+/200\)', run.stdout, re.M)
    table = rows(run.stdout)
    assert list(table) == [(name, rate) for rate in (0.01, 1) for name in BY_HAND]
    assert [row[0] for row in table.values()] == [float(test) for test in tests]
    for name in BY_HAND:
        good, large = table[name, 0.01], table[name, 1]
        assert good[0] > 90 and good[1] < 10 and 1 <= good[3] < 1.5
        if name == 'leaky_relu':
            assert good[1:3] == large[1:3] == [0, 0]
        else:                                # dead units are among those that are always flat
            assert large[1] <= large[2] and large[2] > good[2] + 20
    assert table['relu', 1][1] > table['relu', 0.01][1] + 5
    assert table['sigmoid', 1][0] < 85


def test_pictures(quick):
    import matplotlib.image
    _, folder = quick
    assert sorted(path.name for path in folder.glob('*.png')) == [
        'activations.png', 'softmax.png', 'unit_health.png']
    for path in folder.glob('*.png'):
        content = path.read_bytes()
        assert content[:8] == b'\x89PNG\r\n\x1a\n' and len(content) < 150000
        width, height = struct.unpack('>II', content[16:24])
        assert width > 600 and height > 200
        pixels = matplotlib.image.imread(str(path))[..., :3]
        colors = np.unique((pixels * 15).astype(int).reshape(-1, 3), axis=0)
        assert len(colors) > 12 and 0.02 < np.mean(pixels.min(axis=2) < 0.9) < 0.5


def here(command, monkeypatch, capsys):
    """Run the lesson in this process, which saves an import; returns code, stdout, stderr."""
    monkeypatch.setattr('sys.argv', command.split())
    with pytest.raises(SystemExit) as stop:
        utils.run(activations.main)
    return (stop.value.code,) + tuple(capsys.readouterr())


def test_same_seed_same_log_and_the_target_is_for_the_good_rate(quick, shapes, monkeypatch, capsys):
    without = lambda log: re.sub(r' +[\d.]+s$', '', log, flags=re.M).split('\n', 1)[1]
    code, log, _ = here(QUICK + shapes + ' --target-accuracy 85', monkeypatch, capsys)
    assert without(log) == without(quick[0].stdout)
    assert code == 0 and min(row[0] for row in rows(log).values()) < 85
    code, log, _ = here(QUICK + shapes + ' --steps 1 --target-accuracy 99', monkeypatch, capsys)
    assert code == 1 and len(rows(log)) == 12


@pytest.mark.parametrize('more, said', [
    ('--steps 0', '--steps'), ('--lr 0', '--lr'), ('--lr nan', '--lr'), ('--seed x', '--seed'),
    ('--batch-size 601', '--batch-size'), ('--plot', '--plot'), ('--dropout', '--dropout'),
    ('--data nowhere.npz', 'nowhere.npz'), ('--plot %s/folder', 'is not a folder'),
    ('--lr 1e30', '--lr 1e+29')])
def test_refusals_are_one_sentence_and_code_2(more, said, shapes, monkeypatch, capsys):
    command = QUICK + shapes + ' ' + more.replace('%s', shapes)
    code, log, sentence = here(command, monkeypatch, capsys)
    assert code == 2 and len(sentence.splitlines()) == 1 and said in sentence
    assert 'minibatch loss' not in log or more == '--lr 1e30'    # refused before any training


@pytest.mark.slow
def test_letters_at_a_good_rate_and_at_too_large_a_one():
    run = run_lesson('activations.py --target-accuracy 94')
    assert (run.returncode, run.stderr) == (0, '')
    table = rows(run.stdout)
    for name in BY_HAND:
        assert table[name, 0.001][0] > 94 and table[name, 0.001][1] < 2
    assert table['relu', 0.1][0] < 80 and table['relu', 0.1][1] > 30
    assert table['leaky_relu', 0.1][0] > 75 and table['leaky_relu', 0.1][1:3] == [0, 0]
    for name in ('sigmoid', 'tanh'):
        assert table[name, 0.1][2] > 90
