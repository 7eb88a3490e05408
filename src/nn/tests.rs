use super::*;
use crate::autograd::testing::{Model, check_model, devices, normal};
use crate::autograd::{Device, Variable, no_grad};
use crate::ops::activation::Kind;
use crate::ops::cross_entropy::CrossEntropyOptions;
use crate::{Array, Error, Result};

/// A model of the parameters that `layers` draws, whose loss is the mean square of what `run` makes of [2, 5, 6] normal numbers.
fn check<L: 'static>(layers: impl Fn(&mut Scope) -> Result<L>, run: impl Fn(&L, &Inputs) -> Result<Variable> + Copy + 'static) {
    check_model(|device| {
        let mut parameters = Parameters::new(device, 7);
        let layers = layers(&mut parameters.root()).unwrap();
        let inputs = Inputs::new(device);
        let parameters = parameters.iter().map(|(name, parameter)| (name.to_string(), parameter.clone())).collect();
        let loss = move || {
            let y = run(&layers, &inputs)?;
            y.mse(&y.device().constant(normal(9, &y.shape(), 1.0))?)
        };
        Model { parameters, loss: Box::new(loss) }
    });
}

/// Two sequences, the second shorter by two.
struct Inputs {
    x: Variable,
    ids: Variable,
    lengths: Variable,
    mask: Variable,
}

impl Inputs {
    fn new(device: &Device) -> Self {
        let constant = |array| device.constant(array).unwrap();
        Inputs {
            x: constant(normal(1, &[2, 5, 6], 1.0)),
            ids: constant(Array::i32(&[2, 5], vec![3, 1, 4, 1, 2, 2, 3, 1, 0, 0])),
            lengths: constant(Array::i32(&[2], vec![5, 3])),
            mask: constant(Array::u8(&[2, 5], vec![1, 1, 1, 1, 1, 1, 1, 1, 0, 0])),
        }
    }
}

#[test]
fn basic_layers() {
    check(
        |scope| {
            let embedding = Embedding::new(&mut scope.at("embedding"), 5, 6, None)?;
            let linear = Linear::new(&mut scope.at("linear"), 6, 4, true)?;
            Ok((embedding, linear, LayerNorm::new(&mut scope.at("norm"), 4)?, RmsNorm::new(&mut scope.at("rms"), 4)?))
        },
        |(embedding, linear, norm, rms), inputs| {
            let x = linear.forward(&embedding.forward(&inputs.ids)?.add(&inputs.x)?)?;
            let x = Dropout(0.25).forward(&x, &Mode::train(3, 1))?;
            rms.forward(&norm.forward(&x)?.activation(Kind::Gelu)?)
        },
    );
}

#[test]
fn recurrent_layers() {
    for cell in [Cell::Rnn, Cell::Gru, Cell::Lstm] {
        for (layers, bidirectional) in [(1, false), (2, true)] {
            let options = RecurrentOptions { cell, inputs: 6, hidden: 4, layers, bidirectional, dropout: 0.3 };
            check(
                |scope| Ok((Recurrent::new(scope, &options)?, Linear::new(&mut scope.at("out"), 4, 3, true)?)),
                |(layer, out), inputs| {
                    let mode = Mode::train(5, 2);
                    let first = layer.forward(&inputs.x, Some(&inputs.lengths), None, &mode)?;
                    let second = layer.forward(&inputs.x, None, Some(&first.last), &mode)?;
                    let states = out.forward(&second.last.h)?.sum(None)?.scale(0.1)?;
                    first.y.add(&second.y)?.add(&states)
                },
            );
        }
    }
}

#[test]
fn attention_with_every_score() {
    for score in Score::PLAIN.into_iter().chain([Score::MultiHead(3)]) {
        let queries = if score.needs_equal_features() { 6 } else { 3 };
        check(
            |scope| {
                let attention = Attention::new(&mut scope.at("attention"), score, queries, 6, 4)?;
                Ok((Linear::new(&mut scope.at("query"), 6, queries, true)?, attention))
            },
            |(query, attention), inputs| {
                let attended = attention.forward(&query.forward(&inputs.x)?, &inputs.x, Some(&inputs.mask))?;
                assert_eq!(attended.weights.shape(), [2, 5, 5]);
                assert_eq!(attended.context.shape(), [2, 5, attention.features()]);
                attended.context.sum(Some(&[-1]))?.reshape(&[2, 5, 1])?.add(&attended.weights)
            },
        );
    }
}

/// The weights of several heads are the mean of theirs, and the parameters have the names of torch.nn.MultiheadAttention.
#[test]
fn attention_of_several_heads() {
    for device in devices() {
        let mut parameters = Parameters::new(&device, 3);
        let attention = Attention::new(&mut parameters.at("attention"), Score::MultiHead(2), 6, 6, 4).unwrap();
        let mut same = Parameters::new(&device, 3);
        let heads = MultiHeadAttention::new(&mut same.at("attention"), 6, 2, 0.0).unwrap();
        assert_eq!(parameters.arrays().unwrap(), same.arrays().unwrap());
        let Inputs { x, mask, .. } = Inputs::new(&device);
        let attended = no_grad(|| attention.forward(&x, &x, Some(&mask))).unwrap();
        let each = no_grad(|| heads.forward([&x, &x, &x], Some(&mask), false, &Mode::predict())).unwrap();
        assert_eq!((attended.context.array().unwrap(), attention.features()), (each.context.array().unwrap(), 6));
        let (mean, each) = (attended.weights.array().unwrap().to_f64(), each.weights.array().unwrap().to_f64());
        for (n, mean) in mean.iter().enumerate() {
            let (b, pair) = (n / 25, n % 25);
            assert!((mean - (each[b * 50 + pair] + each[b * 50 + 25 + pair]) / 2.0).abs() < 1e-7);
        }
    }
    let mut parameters = Parameters::new(&Device::cpu(), 3);
    let mut refused =
        |heads, queries| Attention::new(&mut parameters.root(), Score::MultiHead(heads), queries, 6, 4).unwrap_err().to_string();
    for heads in [0, 4] {
        assert_eq!(refused(heads, 6), format!("multi_head_attention: heads = {heads}; expected a divisor of 6"));
    }
    assert_eq!(refused(3, 12), "attention: query features = 12; expected 6, as the keys have, for score multi_head:3");
}

#[test]
fn scores_have_names() {
    for score in Score::PLAIN.into_iter().chain([Score::MultiHead(8)]) {
        assert_eq!(score.to_string().parse::<Score>().unwrap(), score);
    }
    for wrong in ["", "dots", "multi_head", "multi_head:", "multi_head:0", "multi_head:-1", "multi_head:2.0"] {
        let message = wrong.parse::<Score>().unwrap_err().to_string();
        let start = format!("attention: score = '{wrong}'; expected one of dot, ");
        assert!(message.starts_with(&start) && message.ends_with("cosine, or multi_head:N with N heads"), "{message}");
    }
}

#[cfg(feature = "cli")]
#[test]
fn scores_in_configurations() {
    for (score, text) in [(Score::ScaledDot, r#""scaled_dot""#), (Score::MultiHead(4), r#"{"multi_head":4}"#)] {
        assert_eq!((serde_json::to_string(&score).unwrap().as_str(), serde_json::from_str::<Score>(text).unwrap()), (text, score));
    }
}

#[test]
fn pooling() {
    check(
        |scope| AttentionPooling::new(scope, 6, 4),
        |pool, inputs| {
            let pooled = pool.forward(&inputs.x, Some(&inputs.mask))?;
            assert_eq!(pooled.weights.shape(), [2, 1, 5]);
            Ok(pooled.context)
        },
    );
}

#[test]
fn transformer_blocks() {
    for (norm_first, dropout) in [(false, 0.0), (true, 0.2)] {
        let options = TransformerOptions { features: 6, heads: 2, inner: 8, dropout, activation: Kind::Gelu, norm_first };
        check(
            |scope| Ok((EncoderLayer::new(&mut scope.at("encoder"), &options)?, DecoderLayer::new(&mut scope.at("decoder"), &options)?)),
            |(encoder, decoder), inputs| {
                let mode = Mode::train(1, 1);
                let x = inputs.x.add(&inputs.x.device().constant(positions(5, 6))?)?;
                let (memory, _) = encoder.forward(&x, Some(&inputs.mask), false, &mode)?;
                Ok(decoder.forward(&x.slice(1, 0, 4)?, &memory, Some(&inputs.mask), &mode)?.0)
            },
        );
    }
}

/// With causality the projections are another path than without: what they have in common is the same.
#[test]
fn multi_head_attention_by_two_paths() {
    for device in devices() {
        let mut parameters = Parameters::new(&device, 3);
        let attention = MultiHeadAttention::new(&mut parameters.root(), 6, 3, 0.0).unwrap();
        let inputs = Inputs::new(&device);
        let last = inputs.x.slice(1, 4, 5).unwrap();
        let [whole, causal] = [false, true].map(|causal| {
            let query = if causal { &inputs.x } else { &last };
            no_grad(|| attention.forward([query, &inputs.x, &inputs.x], Some(&inputs.mask), causal, &Mode::predict())).unwrap()
        });
        // The last query sees everything.
        let of = |attended: &Variable, axis| attended.slice(axis, 4, 5).unwrap().array().unwrap().to_f64();
        let pairs = [(whole.context.array(), of(&causal.context, 1)), (whole.weights.array(), of(&causal.weights, 2))];
        for (whole, causal) in pairs {
            assert!(whole.unwrap().to_f64().iter().zip(&causal).all(|(a, b)| (a - b).abs() < 1e-6), "{causal:?}");
        }
    }
    let mut parameters = Parameters::new(&Device::cpu(), 3);
    assert!(matches!(MultiHeadAttention::new(&mut parameters.root(), 6, 4, 0.0), Err(Error::Argument { .. })));
}

#[test]
fn crf() {
    check_model(|device| {
        let mut parameters = Parameters::new(device, 7);
        let linear = Linear::new(&mut parameters.at("linear"), 6, 4, true).unwrap();
        let crf = Crf::new(&mut parameters.at("crf"), 4).unwrap();
        let Inputs { x, ids, lengths, .. } = Inputs::new(device);
        let tags = device.constant(Array::i32(&[2, 5], ids.array().unwrap().to_f64().iter().map(|&id| id as i32 % 4).collect())).unwrap();
        let path = no_grad(|| crf.decode(&linear.forward(&x).unwrap(), Some(&lengths))).unwrap();
        assert_eq!((path.shape(), &path.to_f64()[8..]), ([2, 5].as_slice(), [-1.0, -1.0].as_slice()));
        let parameters = parameters.iter().map(|(name, parameter)| (name.to_string(), parameter.clone())).collect();
        Model { parameters, loss: Box::new(move || crf.loss(&linear.forward(&x)?, &tags, Some(&lengths))) }
    });
}

#[test]
fn names_are_pytorchs() {
    let mut parameters = Parameters::new(&Device::cpu(), 0);
    let options = TransformerOptions { features: 4, heads: 2, inner: 8, dropout: 0.0, activation: Kind::Relu, norm_first: false };
    EncoderLayer::new(&mut parameters.at("layers.0"), &options).unwrap();
    let shapes: Vec<(&str, Vec<usize>)> = parameters.iter().map(|(name, parameter)| (name, parameter.shape())).collect();
    let expected: [(&str, &[usize]); 12] = [
        ("layers.0.linear1.bias", &[8]),
        ("layers.0.linear1.weight", &[8, 4]),
        ("layers.0.linear2.bias", &[4]),
        ("layers.0.linear2.weight", &[4, 8]),
        ("layers.0.norm1.bias", &[4]),
        ("layers.0.norm1.weight", &[4]),
        ("layers.0.norm2.bias", &[4]),
        ("layers.0.norm2.weight", &[4]),
        ("layers.0.self_attn.in_proj_bias", &[12]),
        ("layers.0.self_attn.in_proj_weight", &[12, 4]),
        ("layers.0.self_attn.out_proj.bias", &[4]),
        ("layers.0.self_attn.out_proj.weight", &[4, 4]),
    ];
    assert!(shapes.iter().zip(&expected).all(|(own, expected)| own.0 == expected.0 && own.1 == expected.1), "{shapes:?}");
    assert_eq!((shapes.len(), parameters.elements()), (12, 172));
    let again = Linear::new(&mut parameters.at("layers.0.linear1"), 4, 8, true).unwrap_err();
    assert!(again.to_string().contains("'layers.0.linear1.weight'"), "{again}");
}

#[test]
fn initial_values() {
    let mut parameters = Parameters::new(&Device::cpu(), 0);
    Linear::new(&mut parameters.at("linear"), 100, 50, true).unwrap();
    Embedding::new(&mut parameters.at("embedding"), 100, 50, Some(3)).unwrap();
    let values = |name: &str| parameters.get(name).unwrap().array().unwrap().to_f64();
    let deviation = |v: &[f64]| (v.iter().map(|x| x * x).sum::<f64>() / v.len() as f64).sqrt();
    let weight = values("linear.weight");
    assert!(weight.iter().all(|x| x.abs() <= 0.1) && (deviation(&weight) - 0.1 / 3f64.sqrt()).abs() < 2e-3);
    let rows = values("embedding.weight");
    assert!((deviation(&rows) - 0.99f64.sqrt()).abs() < 0.03 && rows[150..200].iter().all(|&x| x == 0.0) && rows[149] != 0.0);
    // The same on every device.
    let mut again = Parameters::new(&devices()[1], 0);
    Linear::new(&mut again.at("linear"), 100, 50, true).unwrap();
    assert_eq!(again.arrays().unwrap()["linear.weight"], parameters.arrays().unwrap()["linear.weight"]);
}

#[cfg(feature = "cli")]
#[test]
fn parameters_are_saved_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    for device in devices() {
        let make = |seed, outputs| {
            let mut parameters = Parameters::new(&device, seed);
            Linear::new(&mut parameters.at("a"), 3, outputs, true).unwrap();
            parameters
        };
        let (first, second) = (make(1, 2), make(2, 2));
        first.save(&path).unwrap();
        assert_ne!(first.arrays().unwrap(), second.arrays().unwrap());
        second.open(&path).unwrap();
        assert_eq!(first.arrays().unwrap(), second.arrays().unwrap());
        let misfit = make(3, 4).open(&path).unwrap_err().to_string();
        assert!(misfit.contains("model.safetensors") && misfit.contains("'a.bias' has shape [2]; expected [4]"), "{misfit}");
        let mut other = Parameters::new(&device, 1);
        Linear::new(&mut other.at("b"), 3, 2, false).unwrap();
        let unknown = other.open(&path).unwrap_err().to_string();
        assert!(unknown.contains("'b.weight' missing and 'a.bias', 'a.weight' unknown"), "{unknown}");
    }
}

/// Ids that a loss ignores, and those of the padding, change nothing.
#[test]
fn ignored_targets() {
    for device in devices() {
        let mut parameters = Parameters::new(&device, 0);
        let embedding = Embedding::new(&mut parameters.at("e"), 5, 4, Some(0)).unwrap();
        let inputs = Inputs::new(&device);
        let target = device.constant(Array::i32(&[10], vec![1, 2, 3, 0, 1, 2, 3, 0, -100, -100])).unwrap();
        let logits = embedding.forward(&inputs.ids).unwrap().reshape(&[10, 4]).unwrap();
        logits.cross_entropy(&target, &CrossEntropyOptions::default()).unwrap().backward().unwrap();
        let gradient = parameters.get("e.weight").unwrap().gradient().unwrap().array().unwrap().to_f64();
        assert!(gradient[..4].iter().all(|&d| d == 0.0) && gradient[4..].iter().all(|&d| d != 0.0), "{gradient:?}");
    }
}
