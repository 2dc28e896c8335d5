"""A deep network of any number of layers, and the bench for every remedy of its training problems.

Notes 1, "Deep Network": initial weights that fit their layer, dropout that fades towards the output
and a falling learning rate make depth work. Notes 4: each further remedy is a flag; what is inside
it stands in layers.py, where it acts stands here. Try one against the other:

    python deep_nn.py --layers 6 --dropout --l2 0.001
    python deep_nn.py --layers 10 --activation sigmoid --init normal --gradient-norms
    python deep_nn.py --layers 10 --activation sigmoid --batch-norm --gradient-norms

Test accuracy of the first 96.1 ± 0.1% on the letters in four minutes, seeds 1 to 3, TensorFlow
2.21, two cores.
"""
from types import SimpleNamespace

import checkpoints
import layers
import summaries
import utils  # before TensorFlow: keeps its start-up chatter off the screen
import tensorflow.compat.v1 as tf

# ---------------------------------------------------------------------------------- constants
STEPS = 20001            # updates, each from one minibatch
BATCH_SIZE = 128         # images in a minibatch
LEARNING_RATES = {'sgd': 0.3, 'momentum': 0.03, 'nesterov': 0.03, 'adagrad': 0.03,
                  'rmsprop': 0.0003, 'adam': 0.001}  # at the start, where --lr is not given
REPORT_EVERY = 1000      # steps
SEED = 42
MIN_UNITS = 64           # layers are no narrower: ten classes do not fit through two units
BATCH_NORM_MOMENTUM = 0.99  # share of the moving moments that stays at each step (notes: 0.9)

above_0, share = utils.number(float, 0, open_low=True), utils.number(float, 0, 1, open_low=True)
FLAGS = [
    # name, default, the value if none is given, what it takes (None: a switch), what it is
    ('--layers', 6, None, utils.number(int, 2, 64), 'weight layers, the output layer among them'),
    ('--hidden', 1024, None, utils.number(int, 1, 8192),
     'units in the first hidden layer; each further one has half as many, at least %d' % MIN_UNITS),
    ('--activation', 'relu', None, layers.ACTIVATIONS, 'of the hidden layers'),
    ('--init', None, None, layers.INITIAL_WEIGHTS,
     'standard deviation of the initial weights; if not given, what suits the activation'),
    ('--batch-norm', False, None, None, 'normalize each batch before the activation'),
    ('--optimizer', 'sgd', None, layers.OPTIMIZERS,
     'how gradients change the weights; each has a learning rate of its own as default'),
    ('--schedule', 'exponential', None, layers.SCHEDULES, 'how the learning rate changes'),
    ('--clip', None, 1.0, above_0, 'gradients are cut off beyond plus and minus this'),
    ('--dropout', 1.0, 0.5, share, 'share of the first hidden layer kept in training'),
    ('--input-dropout', 1.0, 0.8, share, 'share of the pixels kept in training'),
    ('--l1', 0.0, None, utils.number(float, 0), 'weight of the L1 penalty'),
    ('--l2', 0.0, None, utils.number(float, 0), 'weight of the L2 penalty; the notes use 0.001'),
    ('--max-norm', None, 1.0, above_0, 'largest norm of the weights into a unit'),
    ('--label-smoothing', 0.0, 0.1, utils.number(float, 0, 0.9), 'share of a label that is spread'),
    ('--augment', 0.0, 1.0, utils.number(float, 0, 4), 'strength of random shifts, turns, slants'),
    ('--standardise', False, None, None, 'give each pixel mean 0 and deviation 1'),
    ('--early-stopping', None, 3000, utils.number(int, 1),
     'stop after this many steps without a better validation accuracy'),
    ('--default-dnn', False, None, None, 'the default configuration of notes 4, 10'),
    ('--bfloat16', False, None, None, 'matrix products in half precision; see README, "Speed"'),
    ('--gradient-norms', False, None, None, 'print the norm of the gradient of each layer'),
    ('--checkpoint', None, None, utils.folder, 'save the run into this folder at each report'),
    ('--resume', False, None, None, 'go on from the checkpoint, if there is one'),
]
DEFAULT_DNN = dict(init='he', activation='elu', batch_norm=True, dropout=0.5, optimizer='adam',
                   schedule='constant')
# ---------------------------------------------------------------------------------------------


def forward(x, training, seed, flags):
    """The deep network: x is float32 [batch, 784]; returns logits, all weights, hidden outputs."""
    weights, outputs = [], []
    hidden, inputs, units = x, 784, flags.hidden
    activation = layers.ACTIVATIONS[flags.activation]
    init = flags.init or layers.SUITABLE[flags.activation]
    matmul = layers.matmul_bfloat16 if flags.bfloat16 else tf.matmul
    if flags.input_dropout < 1:
        hidden = layers.dropout(x, tf.where(training, flags.input_dropout, 1.0), seed(0))
    for layer in range(1, flags.layers):
        with tf.name_scope('layer%d' % layer):
            weights.append(tf.Variable(layers.initial_weights(inputs, units, init), name='weights'))
            hidden = matmul(hidden, weights[-1])                             # [batch, units]
            if flags.batch_norm:
                hidden = layers.batch_norm(hidden, training, BATCH_NORM_MOMENTUM)
            else:
                hidden += tf.Variable(tf.zeros([units]), name='biases')
            hidden = activation(hidden)
            outputs.append(hidden)
            if flags.dropout < 1:
                keep_prob = 1 - (1 - flags.dropout) * layers.dropout_share(layer - 1, flags.layers)
                hidden = layers.dropout(hidden, tf.where(training, keep_prob, 1.0), seed(layer))
        inputs, units = units, min(units, max(units // 2, MIN_UNITS))
    with tf.name_scope('output'):
        weights.append(tf.Variable(layers.initial_weights(inputs, 10, init), name='weights'))
        biases = tf.Variable(tf.zeros([10]), name='biases')
        logits = tf.matmul(hidden, weights[-1]) + biases                     # [batch, 10]
    return logits, weights, outputs


def build_graph(flags, train):
    """Describe training and evaluation; train is a Split of float32 [n, 784] and [n, 10]."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(flags.seed)
        step = tf.train.get_or_create_global_step()  # counted up by the optimizer
        seed = layers.seeds(flags.seed, step)  # of random numbers: nothing else remembers them

        with tf.name_scope('minibatch'):
            images = utils.resident(train.images)                            # [n, 784]
            labels = utils.resident(train.labels)                            # [n, 10]
            offset_range = max(len(train.labels) - flags.batch_size, 1)
            offset = step * flags.batch_size % offset_range
            batch_x = images[offset:offset + flags.batch_size]               # [batch, 784]
            batch_y = labels[offset:offset + flags.batch_size]               # [batch, 10]
            if flags.augment:
                batch_x = layers.augment(batch_x, seed(999), flags.augment)
        # Trained on the minibatch; evaluated on whatever is fed.
        x = tf.placeholder_with_default(batch_x, [None, 784], name='x')
        y = tf.placeholder_with_default(batch_y, [None, 10], name='y')
        training = tf.placeholder_with_default(False, [], name='training')

        with tf.name_scope('forward'):
            inputs = x
            if flags.standardise:  # the little more keeps pixels that hardly vary from exploding
                inputs = (x - train.images.mean(0)) / (train.images.std(0) + 0.05)
            logits, weights, outputs = forward(inputs, training, seed, flags)  # [batch, 10]
        with tf.name_scope('loss'):
            target = (1 - flags.label_smoothing) * y + flags.label_smoothing / 10
            losses = {'cross entropy': tf.reduce_mean(
                tf.nn.softmax_cross_entropy_with_logits_v2(labels=target, logits=logits))}
            if flags.l1:  # penalties on the weights alone: a bias cannot overfit by itself
                losses['l1'] = flags.l1 * tf.add_n([tf.reduce_sum(tf.abs(w)) for w in weights])
            if flags.l2:
                losses['l2'] = flags.l2 * tf.add_n([tf.nn.l2_loss(w) for w in weights])
        with tf.name_scope('train'):
            progress = tf.cast(step, tf.float32) / max(flags.steps - 1, 1)   # 0 to 1
            learning_rate = flags.lr * layers.SCHEDULES[flags.schedule](progress)
            optimizer = layers.OPTIMIZERS[flags.optimizer](learning_rate)
            gradients = optimizer.compute_gradients(sum(losses.values()))
            norms = [tf.norm(gradient) for gradient, v in gradients if 'weights' in v.op.name]
            if flags.clip:
                gradients = [(tf.clip_by_value(gradient, -flags.clip, flags.clip), v)
                             for gradient, v in gradients]
            with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):  # batch norm
                train_op = optimizer.apply_gradients(gradients, global_step=step)
            if flags.max_norm:
                with tf.control_dependencies([train_op]):
                    train_op = tf.group(*[layers.max_norm(w, flags.max_norm) for w in weights])
        with tf.name_scope('evaluation'):
            predictions = tf.argmax(logits, 1)                               # [batch], 0 to 9
            hits = tf.equal(predictions, tf.argmax(y, 1))                    # [batch]
            accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
        variables = tf.global_variables('forward')  # weights, biases, moving moments

        return SimpleNamespace(
            graph=graph, x=x, y=y, training=training, step=step, logits=logits, losses=losses,
            learning_rate=learning_rate, train_op=train_op, norms=norms, predictions=predictions,
            accuracy=accuracy, variables=variables,
            summaries=summaries.describe(x, hits, outputs, gradients) if flags.logdir else None,
            checkpoint=checkpoints.Checkpoint(variables, flags, train),
            init=[tf.global_variables_initializer(), tf.local_variables_initializer()])


def train(net, data, flags, log):
    """Run the graph: step, report, keep the best weights; the test set is used once, at the end."""
    with utils.session(net.graph, flags.gpu_memory) as session, utils.CtrlC() as ctrl_c:
        session.run(net.init)
        best = SimpleNamespace(validation=-1.0, step=0)
        if flags.resume:
            net.checkpoint.restore(session, best, log)
        for step in range(session.run(net.step), flags.steps):
            if ctrl_c.pressed:
                net.checkpoint.save(session, best, log)
                return log.stopped(step, best.validation, best.step)
            if flags.early_stopping and step - best.step > flags.early_stopping:
                log.say('Early stopping: no better validation accuracy since step %d' % best.step)
                break
            if not log.due(step):
                session.run(net.train_op, {net.training: True})  # nothing fetched: no waiting
                continue
            _, losses, accuracy, learning_rate, norms = session.run(
                [net.train_op, net.losses, net.accuracy, net.learning_rate, net.norms],
                {net.training: True})
            validation = utils.accuracy(session, net, data.valid)
            log.report(step, losses, accuracy, validation, learning_rate)
            if flags.gradient_norms:
                log.say('gradient norm by layer: ' + ' '.join('%.1e' % norm for norm in norms))
            if flags.logdir:
                log.summarize(step, session.run(net.summaries, summaries.feed(net, data.valid)))
            if validation > best.validation:
                best.validation, best.step = validation, step
                session.run(net.checkpoint.keep_best)
            net.checkpoint.save(session, best, log)

        session.run(net.checkpoint.restore_best)
        predictions = utils.predict(session, net, data.test.images)          # [n], 0 to 9
        return log.finish(predictions, data.test, best.validation, best.step)


def refuse_nonsense(flags):
    """Combinations that can do nothing good, each with the way out; raises utils.Refused."""
    utils.refuse([
        (flags.activation == 'selu' and flags.batch_norm,
         'SELU normalizes by itself: leave out --batch-norm, or take another --activation.'),
        (flags.activation == 'selu' and not flags.standardise,
         'SELU keeps mean 0 and deviation 1 where its inputs have them: add --standardise.'),
        (flags.batch_norm and flags.batch_size == 1,
         '--batch-norm has no moments of one image: give a larger --batch-size.'),
        (flags.early_stopping and flags.early_stopping < flags.report_every,
         '--early-stopping %s looks at validations that come each %d steps: give more, or a '
         'smaller --report-every.' % (flags.early_stopping, flags.report_every)),
        (flags.resume and not flags.checkpoint,
         '--resume goes on from a folder: name it with --checkpoint.')])


def main():
    parser = utils.Flags(__doc__, STEPS, BATCH_SIZE, LEARNING_RATES['sgd'], REPORT_EVERY, SEED)
    parser.table(FLAGS)
    if parser.parse_args().default_dnn:
        parser.set_defaults(**DEFAULT_DNN)
    parser.set_defaults(lr=LEARNING_RATES[parser.parse_args().optimizer])
    flags = parser.parse_args()
    refuse_nonsense(flags)
    checkpoints.check(flags)
    data = utils.load(flags.data, flags.seed if flags.shuffle else None)
    log = utils.Log(parser, flags, data)
    return train(build_graph(flags, data.train), data, flags, log)


if __name__ == '__main__':
    utils.run(main)
