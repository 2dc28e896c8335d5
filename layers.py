"""Building blocks for the lessons, in raw TensorFlow operations that every version since 1.15 runs.

A lesson shows how blocks are put together; here is what is inside them. Blocks that make random
numbers draw them from a seed that the caller makes of the step: nothing of theirs needs saving.
"""
import math

import utils  # noqa: F401 (before TensorFlow: keeps its start-up chatter off the screen)
import tensorflow.compat.v1 as tf

# ------------------------------------------------------------------------------------ activations

LEAK = 0.01  # slope of leaky ReLU for negative inputs (notes 4, 2a)


def leaky_relu(x):
    """max(LEAK x, x): a unit that is off still learns a little; any shape, float32."""
    return tf.maximum(LEAK * x, x)


ACTIVATIONS = {  # name: function of a tensor of any shape
    'relu': tf.nn.relu,
    'leaky_relu': leaky_relu,
    'elu': tf.nn.elu,
    'selu': tf.nn.selu,      # keeps mean 0 and variance 1 where the inputs have them
    'sigmoid': tf.sigmoid,
    'tanh': tf.tanh,
}


def activate(x, active_function):
    """Apply a function given by its name in ACTIVATIONS, or itself, or as None: x as it is."""
    function = ACTIVATIONS.get(active_function, active_function)
    return x if function is None else function(x)


# ---------------------------------------------------------------------------------------- weights

INITIALIZERS = {  # name: standard deviation of the weights of a layer with so many inputs, outputs
    'he': lambda inputs, outputs: math.sqrt(2 / inputs),                  # He 2015: for ReLU, ELU
    'xavier': lambda inputs, outputs: math.sqrt(2 / (inputs + outputs)),  # Glorot 2010: tanh
    'lecun': lambda inputs, outputs: math.sqrt(1 / inputs),               # LeCun et al. 1998: SELU
    'normal': lambda inputs, outputs: 1.0,                                # notes 1: fits no depth
}
INITIAL_WEIGHTS = [name + kind for name in INITIALIZERS for kind in ('', '-uniform')]
SUITABLE = dict.fromkeys(ACTIVATIONS, 'he')
SUITABLE.update({'sigmoid': 'xavier', 'tanh': 'xavier', 'selu': 'lecun'})


def initial_weights(inputs, outputs, kind='he'):
    """Random float32 [inputs, outputs] with the standard deviation of INITIALIZERS (notes 4, 1).

    kind: a name from INITIALIZERS, normally distributed, or that name and '-uniform'. The normal
    distribution is cut off at two standard deviations, as in the notes, which takes 12% of them.
    Raises KeyError for another kind.
    """
    name, _, uniform = kind.partition('-')
    stddev = INITIALIZERS[name](inputs, outputs)
    if uniform:
        reach = math.sqrt(3) * stddev  # the standard deviation of uniform [-r, r] is r / sqrt(3)
        return tf.random_uniform([inputs, outputs], -reach, reach)
    return tf.truncated_normal([inputs, outputs], stddev=stddev)


def full_layer(input_tensor, out_dim, active_function, name):
    """A fully connected layer (notes 3, where it starts at 0 and so cannot learn).

    input_tensor: float32 [batch, in_dim]; active_function: a name from ACTIVATIONS or a function of
    its kind, or None for none.
    Returns float32 [batch, out_dim]. Raises ValueError where the name has been used before.
    """
    in_dim = int(input_tensor.shape[-1])
    with tf.variable_scope(name):
        weights = tf.get_variable('weights', initializer=initial_weights(in_dim, out_dim))
        biases = tf.get_variable('biases', initializer=tf.zeros([out_dim]))
        output = tf.matmul(input_tensor, weights) + biases                   # [batch, out_dim]
        return activate(output, active_function)


def matmul_bfloat16(a, b):
    """tf.matmul of float32 matrices, their numbers and the result's cut to 8 significant bits.

    Faster on processors with instructions for it (AVX512_BF16, AMX), slower on others. Gradients
    are made the same way.
    """
    return tf.cast(tf.matmul(tf.cast(a, tf.bfloat16), tf.cast(b, tf.bfloat16)), tf.float32)


# --------------------------------------------------------------------------------- regularization

def seeds(seed, step):
    """Seeds of the random numbers drawn in a step: a function of the place, a whole number.

    seed: of the run, an int; step: int64 scalar, a tensor. What the function returns is int64 [2].
    """
    return lambda place: tf.stack([tf.constant(1000 * seed + place, tf.int64), step])


def batch_norm(x, training, momentum, epsilon=1e-3):
    """Batch normalization (Ioffe & Szegedy 2015; notes 4, 3): x is float32 [batch, ..., units].

    training: bool scalar. True takes the batch's own mean and variance; False takes their moving
    averages, so that an image's output does not depend on its company. The moving averages move
    by 1 - momentum each time tf.GraphKeys.UPDATE_OPS are run. Returns the shape of x, scaled by
    gamma and shifted by beta, which are learnt. Of a convolution's [batch, height, width, features]
    each feature is one unit, wherever in the image it is.
    """
    units = [int(x.shape[-1])]
    with tf.name_scope('batch_norm'):
        gamma = tf.Variable(tf.ones(units), name='gamma')
        beta = tf.Variable(tf.zeros(units), name='beta')
        moving = [tf.Variable(tf.zeros(units), trainable=False, name='moving_mean'),
                  tf.Variable(tf.ones(units), trainable=False, name='moving_variance')]
        batch = tf.nn.moments(x, axes=list(range(len(x.shape) - 1)))         # two of [units]
        for average, value in zip(moving, batch):
            tf.add_to_collection(tf.GraphKeys.UPDATE_OPS,
                                 average.assign_sub((1 - momentum) * (average - value)))
        mean, variance = tf.cond(training, lambda: list(batch), lambda: [m + 0 for m in moving])
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)


def dropout(x, keep_prob, seed):
    """Keep each number of x with probability keep_prob, times 1 / keep_prob; 0 for others.

    seed: int [2]; the same seed drops the same units, so a mask needs no memory of earlier ones.
    """
    keep_prob = tf.convert_to_tensor(keep_prob)
    kept = tf.random.stateless_uniform(tf.shape(x), seed) < keep_prob
    return x * (tf.cast(kept, x.dtype) / keep_prob)


def dropout_share(layer, layers):
    """Dropout fades with depth: how much of the first layer's rate hidden layer 0, 1, ... gets.

    The notes add 0.5 i / (layers + 1) to keep_prob at the i-th middle layer, which passes 1 with
    seven layers; here the rate never falls below a tenth of the first one.
    """
    return max(1 - layer * (layer - 1) / (layers + 1) / 2, 0.1)


SHIFT, DEGREES, SLANT, SCALE, BRIGHTNESS = 1.5, 8.0, 0.2, 0.08, 0.15  # pixels, degrees, shares


def augment(images, seed, strength=1.0):
    """Shift, rotate, slant, scale and brighten each image a little, at random (notes 4, 9e).

    images: float32 [batch, 784] in [-0.5, 0.5], -0.5 the background; seed: int [2]. Returns the
    same shape, sampled bilinearly. No mirroring: a mirrored letter is another letter, or none.
    """
    batch, size = tf.shape(images)[0], 28
    chance = tf.random.stateless_uniform([7, batch, 1], seed, minval=-strength, maxval=strength)
    angle = chance[0] * (DEGREES * math.pi / 180)                            # [batch, 1]
    wide, high = tf.exp(SCALE * chance[1]), tf.exp(SCALE * chance[2])
    # Where in the image does each pixel of the result come from? Turn and scale about the centre.
    middle = (size - 1) / 2
    across = tf.tile(tf.range(size, dtype=tf.float32) - middle, [size])      # [784]
    down = tf.reshape(tf.transpose(tf.reshape(across, [size, size])), [-1])  # [784]
    cos, sin = tf.cos(angle), tf.sin(angle)
    slanted = across + SLANT * chance[6] * down                              # [batch, 784]
    column = wide * (cos * slanted + sin * down) + (SHIFT * chance[3] + middle)  # [batch, 784]
    row = high * (cos * down - sin * slanted) + (SHIFT * chance[4] + middle)     # [batch, 784]
    # A background pixel all round stands for everything outside.
    ink = tf.pad(tf.reshape(images + 0.5, [-1, size, size]), [[0, 0], [1, 1], [1, 1]])
    ink = tf.reshape(ink, [-1])                                              # [batch * 30 * 30]
    column = tf.clip_by_value(column + 1, 0.0, size + 0.999)
    row = tf.clip_by_value(row + 1, 0.0, size + 0.999)
    left, top = tf.floor(column), tf.floor(row)
    across, down = column - left, row - top                                  # shares, in [0, 1)
    first = tf.range(batch)[:, None] * (size + 2) ** 2
    corner = first + tf.cast(top * (size + 2) + left, tf.int32)              # [batch, 784]
    upper = tf.gather(ink, corner) * (1 - across) + tf.gather(ink, corner + 1) * across
    lower = (tf.gather(ink, corner + size + 2) * (1 - across)
             + tf.gather(ink, corner + size + 3) * across)
    ink = upper * (1 - down) + lower * down                                  # [batch, 784]
    return tf.clip_by_value(ink * (1 + BRIGHTNESS * chance[5]), 0.0, 1.0) - 0.5


def max_norm(weights, bound):
    """Shrink each unit's incoming weights to a norm of at most bound (notes 4, 9d).

    weights: a variable [inputs, units]. Returns the op that does it. The notes clip along axis 1,
    which holds the outgoing weights of each input; a unit's own are along axis 0.
    """
    return weights.assign(tf.clip_by_norm(weights.read_value(), bound, axes=[0]))


# --------------------------------------------------------------------------------------- training

OPTIMIZERS = {  # name: the optimizer at a learning rate (notes 4, 7)
    'sgd': tf.train.GradientDescentOptimizer,
    'momentum': lambda rate: tf.train.MomentumOptimizer(rate, momentum=0.9),
    'nesterov': lambda rate: tf.train.MomentumOptimizer(rate, momentum=0.9, use_nesterov=True),
    'adagrad': tf.train.AdagradOptimizer,
    'rmsprop': lambda rate: tf.train.RMSPropOptimizer(rate, decay=0.9, momentum=0.9, epsilon=1e-10),
    'adam': tf.train.AdamOptimizer,
}

WARM_UP = 0.25           # share of the steps in which one-cycle's rate rises
SCHEDULES = {  # name: factor on the learning rate after a share of all steps, 0 to 1 (notes 4, 8)
    'constant': lambda share: tf.ones([]),
    'exponential': lambda share: (1 / 32) ** share,  # halved in each fifth of the run
    'cosine': lambda share: (1 + tf.cos(math.pi * share)) / 2,
    'one-cycle': lambda share: tf.minimum(share / WARM_UP, (1 - share) / (1 - WARM_UP)),
}


# ------------------------------------------------------------------------------------ transfer.py

def autoencoder(inputs, units, activation, keep_prob, number):
    """A full layer that learns without labels: to make its inputs again (notes 4, 6).

    inputs: float32 [batch, width]; keep_prob: share of them that the layer sees, others being 0.
    Where that is less than 1 it has to learn how inputs hang together (Vincent et al. 2010).
    Returns the layer's output [batch, units] and the loss, the mean squared error. Its variables
    are layer<number>/weights and /biases, and those of decoder<number>.
    """
    hidden = full_layer(tf.nn.dropout(inputs, rate=1 - keep_prob), units, activation,
                        'layer%d' % number)                                  # [batch, units]
    again = full_layer(hidden, int(inputs.shape[1]), None, 'decoder%d' % number)  # [batch, width]
    return hidden, tf.reduce_mean(tf.squared_difference(again, inputs))


# -------------------------------------------------------------- sequences, notes 3: attractor.py

def conv1d_layer(input_tensor, kernel_size, feature, active_function, name):
    """A convolution along a sequence (notes 3; there it starts at 0, which cannot learn).

    input_tensor: float32 [batch, length, depth]; kernel_size: how many neighbours in the sequence
    it sees; feature: how many kernels; active_function: as in full_layer.
    Zeros stand for what lies beyond the ends: returns float32 [batch, length, feature]. Raises
    ValueError where the name has been used before.
    """
    depth = int(input_tensor.shape[-1])
    shape = [kernel_size, depth, feature]
    with tf.variable_scope(name):
        start = tf.reshape(initial_weights(kernel_size * depth, feature), shape)   # He
        kernel = tf.get_variable('kernel', initializer=start)
        biases = tf.get_variable('biases', initializer=tf.zeros([feature]))
        output = tf.nn.conv1d(input_tensor, kernel, stride=1, padding='SAME') + biases
        return activate(output, active_function)


def lstm_cell(input_tensor, state, name, forget_bias=1.0):
    """One step of a long short-term memory: y_t, c_t = LSTM(x_t, c_t-1) (notes 3; Gers 2000).

    input_tensor: float32 [batch, inputs]; state: the pair y, c of the step before, each float32
    [batch, units], zeros at the start. forget_bias keeps the gate of the memory open at first, so
    that gradients pass. Returns y [batch, units] and the new state. Raises ValueError where the
    name has been used before; the steps after the first share the variables by reuse.
    """
    before, memory = state[0], state[1]
    inputs, units = int(input_tensor.shape[-1] + before.shape[-1]), int(before.shape[-1])
    with tf.variable_scope(name):
        weights = tf.get_variable('weights', initializer=initial_weights(inputs, 4 * units))
        biases = tf.get_variable('biases', initializer=tf.zeros([4 * units]))
        gates = tf.matmul(tf.concat([input_tensor, before], 1), weights) + biases
        write, news, forget, show = tf.split(gates, 4, axis=1)               # each [batch, units]
        memory = memory * tf.sigmoid(forget + forget_bias) + tf.sigmoid(write) * tf.tanh(news)
        output = tf.sigmoid(show) * tf.tanh(memory)                          # [batch, units]
        return output, (output, memory)


# ----------------------------------------------------------------------------- convolution: cnn.py

def conv2d_layer(input_tensor, kernel_size, feature, active_function, name):
    """A convolution over images, named like full_layer (notes 2; the names of notes 3).

    input_tensor: float32 [batch, height, width, depth]; kernel_size: height and width of the kernel
    in pixels; feature: how many kernels; active_function: as in full_layer.
    The border is padded with zeros: returns float32 [batch, height, width, feature]. Raises
    ValueError where the name has been used before.
    """
    depth = int(input_tensor.shape[-1])
    shape = [kernel_size, kernel_size, depth, feature]
    with tf.variable_scope(name):
        start = tf.reshape(initial_weights(kernel_size ** 2 * depth, feature), shape)  # He
        weights = tf.get_variable('weights', initializer=start)
        biases = tf.get_variable('biases', initializer=tf.zeros([feature]))
        output = tf.nn.conv2d(input_tensor, weights, strides=[1, 1, 1, 1], padding='SAME') + biases
        return activate(output, active_function)


def max_pool(input_tensor, size=2):
    """The largest of each size x size pixels, by feature (notes 2).

    input_tensor: float32 [batch, height, width, depth]; returns [batch, ceil(height / size),
    ceil(width / size), depth].
    """
    window = [1, size, size, 1]
    return tf.nn.max_pool(input_tensor, ksize=window, strides=window, padding='SAME')
