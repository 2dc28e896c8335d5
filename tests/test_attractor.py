"""attractor.py and its parts, against NumPy, SciPy and systems with known exponents."""
import functools
import re
import struct

import numpy as np
import pytest
from scipy import integrate, special

import attractor
import dynamics
import layers
import utils
import tensorflow.compat.v1 as tf
from conftest import run_lesson


def evaluate(build):
    """Build tensors in a graph of their own; returns their values and those of the variables."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        tensors = build()
        variables, init = tf.trainable_variables(), tf.global_variables_initializer()
    with utils.session(graph) as session:
        session.run(init)
        return session.run([tensors, {variable.op.name: variable for variable in variables}])


# ------------------------------------------------------------------------------------- the layers

def test_the_notes_moving_average_and_sum():
    out = attractor.moving_average()
    assert out.shape == (1, 1000, 2)
    expected = np.tile([1.0, 3.0], [1, 1000, 1])
    expected[0, [0, -1]] = [2 / 3, 2]
    np.testing.assert_allclose(out, expected, atol=1e-6)


@pytest.mark.parametrize('kernel_size, activation', [
    (1, None), (2, None), (3, 'tanh'), (4, 'relu')])
def test_conv1d_layer_against_numpy(kernel_size, activation):
    x = np.random.RandomState(0).randn(2, 9, 5).astype(np.float32)
    out, values = evaluate(lambda: layers.conv1d_layer(
        tf.constant(x), kernel_size, 7, layers.ACTIVATIONS.get(activation), 'conv1d_1'))
    kernel, biases = values['conv1d_1/kernel'], values['conv1d_1/biases']
    assert kernel.shape == (kernel_size, 5, 7) and not biases.any()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (5 * kernel_size)), rel=0.3)  # He, not 0
    left = (kernel_size - 1) // 2
    padded = np.pad(x, [(0, 0), (left, kernel_size - 1 - left), (0, 0)], 'constant')
    expected = sum(padded[:, i:i + 9].dot(kernel[i]) for i in range(kernel_size))
    expected = {None: expected, 'tanh': np.tanh(expected),
                'relu': np.maximum(expected, 0)}[activation]
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_lstm_cell_unrolled_with_shared_variables_against_numpy():
    x = np.random.RandomState(0).randn(4, 3, 5).astype(np.float32)          # [steps, batch, inputs]

    def build():
        state, outputs = (tf.zeros([3, 6]), tf.zeros([3, 6])), []
        with tf.variable_scope('net') as scope:
            for time_step in range(4):
                if time_step > 0:
                    scope.reuse_variables()
                output, state = layers.lstm_cell(tf.constant(x[time_step]), state, 'lstm', 0.7)
                outputs.append(output)
        return [tf.stack(outputs), state]

    (outputs, state), values = evaluate(build)
    assert sorted(values) == ['net/lstm/biases', 'net/lstm/weights']         # of one step
    weights, y, c = values['net/lstm/weights'], np.zeros([3, 6]), np.zeros([3, 6])
    for time_step in range(4):
        both = np.concatenate([x[time_step], y], 1)
        write, news, forget, show = np.split(both.dot(weights), 4, 1)
        c = c * special.expit(forget + 0.7) + special.expit(write) * np.tanh(news)
        y = special.expit(show) * np.tanh(c)
        np.testing.assert_allclose(outputs[time_step], y, atol=1e-6)
    np.testing.assert_allclose(state, [y, c], atol=1e-6)


def test_layers_stack_and_a_name_used_twice_is_an_error():
    with tf.Graph().as_default():
        net = tf.zeros([2, 10, 1])
        for i in range(3):
            net = layers.conv1d_layer(net, 3, 2, tf.nn.relu, 'conv1d_%d' % i)
        assert net.shape.as_list() == [2, 10, 2]
        with pytest.raises(ValueError):
            layers.conv1d_layer(net, 3, 2, tf.nn.relu, 'conv1d_1')
        state = (tf.zeros([2, 4]), tf.zeros([2, 4]))
        layers.lstm_cell(net[:, 0], state, 'lstm')
        with pytest.raises(ValueError):
            layers.lstm_cell(net[:, 1], state, 'lstm')


def test_the_conv1d_net_sees_no_future_and_each_state_alike():
    x = np.random.RandomState(0).randn(1, 12, 3).astype(np.float32)
    other = x.copy()
    other[0, 8:] += 1

    def build():
        with tf.variable_scope('a'):
            first = attractor.conv1d_net(tf.constant(x), np.ones(3, np.float32))
        with tf.variable_scope('a', reuse=True):
            return [first] + [attractor.conv1d_net(tf.constant(part), np.ones(3, np.float32))
                              for part in (other, x[:, 4:6])]
    (first, changed, alone), _ = evaluate(build)
    assert first.shape == (1, 11, 3)
    np.testing.assert_array_equal(first[0, :7], changed[0, :7])              # made from x[0..7]
    assert np.abs(first[0, 7:] - changed[0, 7:]).min(axis=1).all()
    np.testing.assert_allclose(alone[0, 0], first[0, 4], atol=1e-5)


# ----------------------------------------------------------------------------------- the dynamics

def test_lyapunov_exponent_of_the_logistic_map():
    exponent = dynamics.lyapunov_exponent(
        lambda x: 4 * x * (1 - x), np.random.RandomState(0).uniform(0.1, 0.9, [1, 400]), 1, 300,
        1e-8)
    assert exponent == pytest.approx(np.log(2), abs=0.01)


def test_lyapunov_exponent_of_lorenz():
    lorenz = lambda s: np.stack([10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1],
                                 s[0] * s[1] - 8 / 3 * s[2]])
    starts = np.random.RandomState(0).randn(3, 40) + [[0], [0], [25]]
    starts = dynamics.integrated(lorenz, starts, [0, 10])[:, -1].T
    exponent = dynamics.lyapunov_exponent(
        lambda s: dynamics.integrated(lorenz, s, [0, 0.5])[:, -1].T, starts, 0.5, 60)
    assert exponent == pytest.approx(0.906, abs=0.04)                        # Sprott 2003


def test_the_orbits_are_solutions_from_seed_to_seed_the_same():
    first, again, other = [dynamics.orbits(3, 50, 0.0025, seed, 1.0) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1
    exact = integrate.solve_ivp(lambda t, s: dynamics.three_scroll(s), [0, 0.12], first[0, 0],
                                rtol=1e-11, atol=1e-11, method='RK45').y[:, -1]
    np.testing.assert_allclose(first[0, 48], exact, atol=1e-4)


def leaves(square):
    """Whether an orbit of the system is beyond 10,000 within a second."""
    far = lambda t, s: np.abs(s).max() - 1e4
    far.terminal = True
    return integrate.solve_ivp(lambda t, s: dynamics.three_scroll(s, square), [0, 1], [1, 1, 1],
                               events=far, rtol=1e-8).status == 1


def test_with_the_printed_sign_the_orbit_leaves():
    assert leaves(-0.65) and not leaves(0.65) and not leaves(dynamics.SQUARE)


def settled(square, seconds, count=6):
    """Where orbits from random starts are after so long, [count, 3]."""
    starts = np.random.RandomState(0).uniform(-50, 50, [3, count]) + [[0], [0], [80]]
    return dynamics.integrated(lambda s: dynamics.three_scroll(s, square), starts,
                               [0, seconds])[:, -1]


@pytest.mark.slow
def test_with_the_printed_coefficient_orbits_end_on_a_loop_of_9_9928_seconds():
    for square, closed in ((0.65, True), (dynamics.SQUARE, False)):
        states = settled(square, 150)
        field = functools.partial(dynamics.three_scroll, square=square)
        after = dynamics.integrated(field, states.T, [0, 9.99276836])[:, -1]
        missed = np.linalg.norm(after - states, axis=1)
        assert np.median(missed) < 0.01 if closed else missed.min() > 1


@pytest.fixture(scope='module')
def true():
    """Twelve true orbits of 30 s, in standard deviations: [12, 12000, 3]."""
    orbits = dynamics.orbits(12, 12000, 0.0025, seed=3)
    return (orbits - orbits.mean((0, 1))) / orbits.std((0, 1))


def test_the_distance_accepts_the_truth_and_refuses_wrong_models(true):
    typical = np.diff(true, axis=1).std((0, 1))
    profile = lambda orbit: dynamics.profile(orbit[None], typical)
    reference = dynamics.profile(true[6:], typical)
    bound = 1.5 * max(dynamics.distance(profile(orbit), reference) for orbit in true[6:])
    judge = lambda orbit: dynamics.distance(profile(orbit), reference)
    assert max(judge(orbit) for orbit in true[:6]) < bound < 0.2
    random = np.random.RandomState(0)
    other = dynamics.integrated(lambda s: dynamics.three_scroll(s, 0.6),
                                np.array([[10.0], [5], [50]]), 0.0025 * np.arange(12000))[0]
    wrong = {
        'stands still': np.tile(true[0, 0], [12000, 1]),
        'noise of the right size': random.randn(12000, 3),
        'right places in the wrong order': random.permutation(true[0]),
        'backwards': true[0, ::-1],
        'twice as fast': true[0, ::2],
        'stays on one side': true[0] * [0, 0, 1] + np.abs(true[0]) * [1, 1, 0],
        'another coefficient': (other - other.mean(0)) / other.std(0),
        'has left': np.full([12000, 3], np.nan)}
    for name, orbit in wrong.items():
        assert not judge(orbit) <= bound, (name, judge(orbit), bound)


def test_horizons():
    true = np.zeros([4, 10, 3])
    free = np.zeros([4, 10, 3])
    free[0, 4:] = 0.41          # beyond the threshold in every coordinate
    free[1, 6, 0] = 0.7         # root mean square 0.404
    free[2, 3, 1] = 0.69        # 0.398
    free[3, 2] = np.nan
    assert list(dynamics.horizons(free, true)) == [4, 6, 10, 2]


# ------------------------------------------------------------------------------------- the lesson

@pytest.fixture
def small(monkeypatch):
    """The lesson with few and short orbits."""
    for name, value in dict(
            ORBITS=6, SAMPLES=1200, STARTS=4, FREE=2).items():
        monkeypatch.setattr(attractor, name, value)
    monkeypatch.setattr(dynamics, 'three_scroll_exponent', lambda states: 1.05)


def lesson(monkeypatch, capsys, flags):
    """Run the lesson in this process; returns code, stdout, stderr."""
    monkeypatch.setattr('sys.argv', ['attractor.py'] + flags.split())
    with pytest.raises(SystemExit) as stop:
        utils.run(attractor.main)
    return (stop.value.code,) + tuple(capsys.readouterr())


def test_the_lesson_end_to_end(small, monkeypatch, capsys, tmp_path):
    command = '--steps 200 --report-every 100 --plot %s --logdir %s' % (
        tmp_path / 'pictures', tmp_path / 'board')
    code, log, stderr = lesson(monkeypatch, capsys, command)
    assert (code, stderr) == (0, '')
    assert 'conv1d of 1,000 ones: 0.667 1.000 1.000 0.667 2.000 3.000 3.000 2.000' in log
    for model in ('conv1d', 'lstm  '):
        losses = [float(loss) for loss in re.findall(model + r'  step .* loss (\S+) ', log)]
        assert len(losses) == 3 and losses[-1] < 0.1 * losses[0]
        error, naive = map(float, re.search(
            model + r'  one-step error ([\d.]+)  tomorrow = today ([\d.]+)', log).groups())
        assert error < 0.5 * naive
        assert re.search(model + r'  horizon \d+\.\d\d Lyapunov times in the median of 4 ', log)
        assert re.search(model + r'  free runs on the attractor for 2 Lyapunov times: \d of 4', log)
    for name in ('attractors.png', 'forecasts.png'):
        content = (tmp_path / 'pictures' / name).read_bytes()
        assert struct.unpack('>II', content[16:24])[0] > 800 and len(content) > 20000
    events = [event for path in (tmp_path / 'board').iterdir()
              for event in tf.train.summary_iterator(str(path))]
    values = [value for event in events for value in event.summary.value]
    sounds = {value.tag.split('/')[0]: value.audio for value in values if value.HasField('audio')}
    assert sorted(sounds) == ['conv1d', 'lstm', 'true']
    assert sounds['true'].sample_rate == 8000 and sounds['true'].encoded_audio_string[:4] == b'RIFF'
    assert sounds['true'].length_frames == int(2 / 1.05 / 0.0025)
    assert {'conv1d/loss', 'lstm/loss'} <= {value.tag for value in values}
    assert any(event.graph_def for event in events)


@pytest.mark.parametrize('model', ['conv1d', 'lstm --layers 2'])
def test_same_seed_same_log(model, small, monkeypatch, capsys):
    monkeypatch.setitem(attractor.LENGTH, 'lstm', 6)
    logs = [re.sub(r'[\d.]+s$', '', lesson(
        monkeypatch, capsys, '--model %s --steps 5 --seed %d' % (model, seed))[1], flags=re.M)
        for seed in (1, 1, 2)]
    assert logs[0] == logs[1] != logs[2].replace('seed 2', 'seed 1')


def test_target_horizon_decides_the_exit_code(small, monkeypatch, capsys):
    assert lesson(monkeypatch, capsys, '--model conv1d --steps 2 --target-horizon 50')[0] == 1


@pytest.mark.parametrize('flags, said', [
    ('--model cnn', '--model'), ('--layers 0', '--layers'), ('--steps 0', '--steps'),
    ('--lr 0', '--lr'), ('--seed -1', '--seed'), ('--report-every 0', '--report-every'),
    ('--data letters', '--data'), ('--target-horizon -1', '--target-horizon')])
def test_refusals_are_one_sentence_and_code_2(flags, said, monkeypatch, capsys):
    code, stdout, sentence = lesson(monkeypatch, capsys, flags)
    assert (code, stdout, len(sentence.splitlines())) == (2, '', 1) and said in sentence


def test_a_learning_rate_that_explodes_is_said(small, monkeypatch, capsys):
    code, _, sentence = lesson(monkeypatch, capsys, '--model conv1d --lr 1e10 --report-every 5')
    assert code == 2 and len(sentence.splitlines()) == 1 and 'try --lr 1e+09' in sentence


@pytest.mark.slow
def test_the_goal():
    """Three Lyapunov times are the goal; the floor is below that, for other machines."""
    run = run_lesson('attractor.py --model conv1d --seed 1 --target-horizon 2')
    assert (run.returncode, run.stderr) == (0, '')
    error, naive = map(float, re.search(
        r'one-step error ([\d.]+)  tomorrow = today ([\d.]+)', run.stdout).groups())
    assert error < naive / 1000
    stayed = int(re.search(r'for 50 Lyapunov times: (\d+) of 20 ', run.stdout).group(1))
    assert stayed >= 14
