// Activation functions of Keras at their defaults, by name, as measures/activations.py has them: those
// of one value, and not gelu, for which JavaScript has no error function.

const elu = x => (x > 0 ? x : Math.expm1(x));
const clip = (x, low, high) => Math.min(high, Math.max(low, x));
const sigmoid = x => 0.5 * (1 + Math.tanh(0.5 * x));
const hardSigmoid = x => clip(x / 6 + 0.5, 0, 1);
const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const silu = x => x * sigmoid(x);
const hardSilu = x => x * hardSigmoid(x);

const ACTIVATIONS = {
  linear: x => x,
  relu: x => Math.max(x, 0),
  relu6: x => clip(x, 0, 6),
  leaky_relu: x => (x > 0 ? x : 0.2 * x),
  elu,
  celu: elu,
  selu: x => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  sigmoid,
  hard_sigmoid: hardSigmoid,
  tanh: Math.tanh,
  hard_tanh: x => clip(x, -1, 1),
  silu,
  swish: silu,
  hard_silu: hardSilu,
  hard_swish: hardSilu,
  mish: x => x * Math.tanh(softplus(x)),
  softplus,
  softsign: x => x / (1 + Math.abs(x)),
  exponential: Math.exp,
};

/** The value of an activation function; null if the function is not known here. */
export function activate(name, value) {
  return Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name](value) : null;
}
