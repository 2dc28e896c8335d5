"""Each block of layers.py against NumPy or SciPy, written a second time."""
import numpy as np
import pytest
from scipy import ndimage, special

import layers
import utils
import tensorflow.compat.v1 as tf


def evaluate(build, steps=0):
    """Build tensors in a graph of their own; their values after running an op so often."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(1)
        tensors, op = build()
        init = tf.global_variables_initializer()
    with utils.session(graph) as session:
        session.run(init)
        for _ in range(steps):
            session.run(op)
        return session.run(tensors)


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017
NUMPY_ACTIVATIONS = {
    'relu': lambda x: np.maximum(x, 0),
    'leaky_relu': lambda x: np.where(x > 0, x, layers.LEAK * x),
    'elu': lambda x: np.where(x > 0, x, np.expm1(x)),
    'selu': lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x)),
    'sigmoid': special.expit,
    'tanh': np.tanh,
}


def test_activations():
    x = np.linspace(-6, 6, 101).astype(np.float32)
    assert sorted(layers.ACTIVATIONS) == sorted(NUMPY_ACTIVATIONS)
    for name, function in layers.ACTIVATIONS.items():
        value = evaluate(lambda f=function: (f(tf.constant(x)), None))
        assert value == pytest.approx(NUMPY_ACTIVATIONS[name](x.astype(float)), abs=2e-6), name


@pytest.mark.parametrize('name, variance', [
    ('he', 2 / 600), ('xavier', 2 / (600 + 200)), ('lecun', 1 / 600), ('normal', 1.0)])
def test_initial_weights(name, variance):
    normal = evaluate(lambda: (layers.initial_weights(600, 200, name), None))
    uniform = evaluate(lambda: (layers.initial_weights(600, 200, name + '-uniform'), None))
    stddev = variance ** 0.5
    assert normal.shape == uniform.shape == (600, 200)
    assert abs(normal.mean()) < 0.02 * stddev and abs(uniform.mean()) < 0.02 * stddev
    assert np.abs(normal).max() <= 2 * stddev * 1.001
    assert normal.std() == pytest.approx(0.8796 * stddev, rel=0.01)  # the cut takes the rest
    assert uniform.std() == pytest.approx(stddev, rel=0.01)
    assert np.abs(uniform).max() == pytest.approx(3 ** 0.5 * stddev, rel=0.01)


def test_full_layer_against_numpy_and_a_name_used_twice():
    x = np.random.RandomState(0).randn(5, 7).astype(np.float32)

    def build():
        output = layers.full_layer(tf.constant(x), 3, 'tanh', 'first')
        with pytest.raises(ValueError):
            layers.full_layer(tf.constant(x), 3, tf.tanh, 'first')
        plain = layers.full_layer(output, 2, None, 'second')
        return [output, plain] + tf.trainable_variables(), None
    output, plain, weights, biases, weights2, biases2 = evaluate(build)
    assert output == pytest.approx(np.tanh(x @ weights + biases), abs=1e-6)
    assert plain == pytest.approx(output @ weights2 + biases2, abs=1e-6)


def test_half_precision_cuts_to_eight_bits_and_has_gradients():
    random = np.random.RandomState(0)
    a, b = random.normal(size=(16, 300)).astype('f'), random.normal(size=(300, 8)).astype('f')

    def build():
        left, right = tf.constant(a), tf.constant(b)
        product = layers.matmul_bfloat16(left, right)
        return [product] + tf.gradients(tf.reduce_sum(product), [left, right]), None

    product, to_left, to_right = evaluate(build)
    error = np.abs(product - a @ b)
    assert product.dtype == np.float32 and 0 < error.max() < 0.02 * np.abs(a @ b).max()
    np.testing.assert_allclose(to_left, np.tile(b.sum(1), (16, 1)), rtol=0.02, atol=0.2)
    np.testing.assert_allclose(to_right, np.tile(a.sum(0)[:, None], 8), rtol=0.02, atol=0.2)


def test_seeds_differ_by_run_place_and_step():
    def build():
        return [layers.seeds(seed, tf.constant(step, tf.int64))(place)
                for seed in (1, 2) for place in (0, 999) for step in (0, 1)], None

    assert len({tuple(seed) for seed in evaluate(build)}) == 8


def test_batch_norm_in_training_and_after():
    random = np.random.RandomState(0)
    x = random.normal(3, 2, [64, 5]).astype(np.float32)
    one = random.normal(0, 1, [1, 5]).astype(np.float32)
    graph = tf.Graph()
    with graph.as_default():
        batch = tf.placeholder(tf.float32, [None, 5])
        training = tf.placeholder_with_default(False, [])
        output = layers.batch_norm(batch, training, 0.9)
        gamma, beta = tf.trainable_variables()
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        init = tf.global_variables_initializer()
    with utils.session(graph) as session:
        session.run(init)
        gamma.load(np.arange(1, 6, dtype=np.float32), session)
        beta.load(np.arange(5, dtype=np.float32), session)
        normal = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)
        trained = session.run(output, {batch: x, training: True})
        assert trained == pytest.approx(normal * np.arange(1, 6) + np.arange(5), abs=1e-4)
        mean, variance = np.zeros(5), np.ones(5)
        for _ in range(7):
            session.run(updates, {batch: x, training: True})
            mean, variance = 0.9 * mean + 0.1 * x.mean(0), 0.9 * variance + 0.1 * x.var(0)
        expected = (one - mean) / np.sqrt(variance + 1e-3) * np.arange(1, 6) + np.arange(5)
        assert session.run(output, {batch: one}) == pytest.approx(expected, abs=1e-4)
        # At test time an image's output does not depend on its company.
        company = np.concatenate([one, 100 * x])
        assert session.run(output, {batch: company})[:1] == pytest.approx(expected, abs=1e-4)


def test_dropout_keeps_the_share_and_the_mean():
    x = np.ones([200, 500], np.float32)
    first, again, other = evaluate(lambda: ([
        layers.dropout(tf.constant(x), 0.8, tf.constant(seed)) for seed in ([1, 2], [1, 2], [1, 3])
    ], None))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert set(np.unique(first)) == {np.float32(0), np.float32(1.25)}
    assert (first > 0).mean() == pytest.approx(0.8, abs=0.005)
    whole = evaluate(lambda: (layers.dropout(tf.constant(x), 1.0, tf.constant([1, 2])), None))
    assert np.array_equal(whole, x)


def test_augmentation_against_scipy(monkeypatch):
    image = ndimage.gaussian_filter(np.random.RandomState(0).rand(28, 28), 2)
    image = ((image - image.min()) / np.ptp(image)).astype(np.float32)
    image[[0, -1]] = image[:, [0, -1]] = 0  # SciPy's edge and ours differ by less than a pixel
    batch = np.repeat(image.reshape(1, 784) - 0.5, 8, 0)
    monkeypatch.setattr(layers, 'BRIGHTNESS', 0.0)
    seed = [5, 6]
    result, chance = evaluate(lambda: ([
        layers.augment(tf.constant(batch), tf.constant(seed)),
        tf.random.stateless_uniform([7, 8, 1], seed, minval=-1.0, maxval=1.0)], None))
    for n in range(8):
        angle, wide, high, right, low, _, slant = chance[:, n, 0]
        angle *= np.radians(layers.DEGREES)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        scale = np.diag(np.exp(layers.SCALE * np.array([high, wide])))
        lean = np.array([[1, 0], [layers.SLANT * slant, 1]])          # (row, column) to the same
        matrix = scale @ turn @ lean
        middle = np.array([13.5, 13.5])
        offset = middle - matrix @ middle + layers.SHIFT * np.array([low, right])
        expected = ndimage.affine_transform(image, matrix, offset, order=1)
        assert np.abs(result[n].reshape(28, 28) + 0.5 - expected).max() < 1e-4
    assert not np.allclose(result[0], result[1])


def test_augmentation_of_strength_0_changes_nothing_and_brightness_stays_in_range():
    images = np.random.RandomState(0).uniform(-0.5, 0.5, [16, 784]).astype(np.float32)
    same, changed = evaluate(lambda: ([
        layers.augment(tf.constant(images), tf.constant([1, 2]), strength)
        for strength in (0.0, 1.0)], None))
    assert same == pytest.approx(images, abs=1e-6)
    assert changed.min() >= -0.5 and changed.max() <= 0.5


def test_max_norm_shrinks_what_is_too_long_and_nothing_else():
    weights = np.random.RandomState(0).randn(30, 20).astype(np.float32)
    weights[:, :5] *= 0.01

    def build():
        variable = tf.Variable(weights)
        return variable, layers.max_norm(variable, 2.0)
    norms, after = np.linalg.norm(weights, axis=0), evaluate(build, steps=1)
    expected = weights * np.minimum(1, 2 / norms)
    assert after == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(after[:, :5], weights[:, :5])
    assert np.linalg.norm(after, axis=0).max() <= 2.0001


def numpy_optimizer(name, rate, w, gradient, steps):
    """Where an optimizer of TensorFlow 1 leads, with its published formulas, in float64."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    if name == 'adagrad':
        v += 0.1           # TensorFlow's initial accumulator
    if name == 'rmsprop':
        v += 1.0           # and that of its RMSProp
    for step in range(1, steps + 1):
        g = gradient(w)
        if name == 'sgd':
            w = w - rate * g
        elif name == 'momentum':
            m = 0.9 * m + g
            w = w - rate * m
        elif name == 'nesterov':
            m = 0.9 * m + g
            w = w - rate * (g + 0.9 * m)
        elif name == 'adagrad':
            v = v + g ** 2
            w = w - rate * g / np.sqrt(v)
        elif name == 'rmsprop':
            v = 0.9 * v + 0.1 * g ** 2
            m = 0.9 * m + rate * g / np.sqrt(v + 1e-10)
            w = w - m
        elif name == 'adam':
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g ** 2
            w = w - rate * (m / (1 - 0.9 ** step)) / (np.sqrt(v / (1 - 0.999 ** step)) + 1e-8)
    return w


@pytest.mark.parametrize('name', sorted(layers.OPTIMIZERS))
def test_optimizers(name):
    start, slopes = np.array([1.0, -2.0, 0.5]), np.array([1.0, 0.3, 4.0])

    def build():
        w = tf.Variable(start.astype(np.float32))
        loss = tf.reduce_sum(slopes.astype(np.float32) * w ** 2) / 2
        return w, layers.OPTIMIZERS[name](0.05).minimize(loss)
    after = evaluate(build, steps=20)
    expected = numpy_optimizer(name, 0.05, start, lambda w: slopes * w, 20)
    # TensorFlow keeps Adam's sums of powers in float32, and its epsilon unscaled.
    assert after == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert np.abs(after - start).max() > 0.1


def test_schedules():
    shares = np.linspace(0, 1, 9)
    expected = {
        'constant': np.ones(9),
        'exponential': 0.5 ** (5 * shares),
        'cosine': (1 + np.cos(np.pi * shares)) / 2,
        'one-cycle': np.interp(shares, [0, layers.WARM_UP, 1], [0, 1, 0]),
    }
    assert sorted(layers.SCHEDULES) == sorted(expected)
    for name, schedule in layers.SCHEDULES.items():
        found = evaluate(lambda s=schedule: ([s(tf.constant(share, tf.float32))
                                              for share in shares], None))
        assert np.array(found) == pytest.approx(expected[name], abs=1e-6), name
