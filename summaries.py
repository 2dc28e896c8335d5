"""What TensorBoard shows of a network beside the curves of the log (notes 5; --logdir)."""
import tensorflow.compat.v1 as tf

FIRST_UNITS = 36   # units of the first layer whose weights are shown as pictures
IMAGES = 1000      # of the validation set, the same at each report, so that reports compare
SHOWN = 8          # examples, and as many mistakes


def describe(x, hits, outputs, gradients):
    """Histograms of weights, outputs and gradients by layer, and pictures.

    x: float32 [batch, 784]; hits: bool [batch], whether each is classified correctly; outputs: of
    each hidden layer, [batch, units]; gradients: (gradient, variable) pairs. Returns the merged
    summary, a string tensor. TensorBoard draws each histogram as a distribution too.
    """
    for layer, output in enumerate(outputs, 1):
        tf.summary.histogram('activations/layer%d' % layer, output)
    for gradient, variable in gradients:
        name = variable.op.name.replace('forward/', '')
        tf.summary.histogram('weights/' + name, variable)
        tf.summary.histogram('gradients/' + name, gradient)
    wrong = tf.boolean_mask(x, tf.logical_not(hits))                         # [mistakes, 784]
    tf.summary.image('examples', tf.reshape(x, [-1, 28, 28, 1]), SHOWN)
    tf.summary.image('mistakes', tf.reshape(wrong, [-1, 28, 28, 1]), SHOWN)
    first = tf.trainable_variables()[0][:, :FIRST_UNITS]                     # [784, units]
    tf.summary.image('first_layer', tf.reshape(tf.transpose(first), [-1, 28, 28, 1]), FIRST_UNITS)
    return tf.summary.merge_all()


def feed(net, split):
    """What to evaluate the summary on."""
    return {net.x: split.images[:IMAGES], net.y: split.labels[:IMAGES]}


def sound(board, name, wave, rate):
    """Write a series [samples] as audio into board, a FileWriter; rate: samples a second."""
    with tf.Graph().as_default(), tf.Session() as session:
        wave = (wave / abs(wave).max()).astype('float32')[None, :, None]     # [1, samples, 1]
        board.add_summary(session.run(tf.summary.audio(name, wave, rate)))
