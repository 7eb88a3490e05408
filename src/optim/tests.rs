use super::*;
use crate::autograd::testing::{devices, normal};
use crate::nn::{Linear, Mode};
use crate::ops::optimizer::Kind;

struct Training {
    parameters: Parameters,
    layers: [Linear; 2],
    optimizer: Optimizer,
}

const KINDS: [(Kind, f64); 4] = [(Kind::Sgd, 0.0), (Kind::Sgd, 0.9), (Kind::Adam, 0.0), (Kind::AdamW, 0.0)];

impl Training {
    fn new(device: &Device, (kind, momentum): (Kind, f64), clip: Option<f64>) -> Self {
        let mut parameters = Parameters::new(device, 1);
        let layers =
            [Linear::new(&mut parameters.at("a"), 3, 5, true), Linear::new(&mut parameters.at("b"), 5, 2, false)].map(Result::unwrap);
        let options = OptimizerOptions { kind, lr: 0.05, momentum, weight_decay: 0.01, ..Default::default() };
        let optimizer = Optimizer::new(&parameters, &options, Schedule::new(3, Some(30)).unwrap(), clip).unwrap();
        Training { parameters, layers, optimizer }
    }

    /// The loss before the step, and the norm.
    fn step(&mut self) -> (f64, Option<f64>) {
        let device = self.parameters.device();
        let [x, target] = [(1, [8, 3]), (2, [8, 2])].map(|(seed, shape)| device.constant(normal(seed, &shape, 1.0)).unwrap());
        let mode = Mode::train(4, self.optimizer.steps());
        let hidden = self.layers[0].forward(&x).unwrap().tanh().unwrap().dropout(0.2, mode.seed()).unwrap();
        let loss = self.layers[1].forward(&hidden).unwrap().mse(&target).unwrap();
        loss.backward().unwrap();
        let norm = self.optimizer.step().unwrap().map(|norm| norm.scalar().unwrap());
        (loss.scalar().unwrap(), norm)
    }
}

#[test]
fn both_devices_learn_alike() {
    for kind in KINDS {
        for clip in [None, Some(0.3)] {
            let [cpu, gpu] = devices().map(|device| {
                let mut training = Training::new(&device, kind, clip);
                (0..30).map(|_| training.step()).collect::<Vec<_>>()
            });
            for (cpu, gpu) in cpu.iter().zip(&gpu) {
                assert!((cpu.0 - gpu.0).abs() < 1e-4 * (1.0 + cpu.0), "{kind:?} {clip:?}: {cpu:?} {gpu:?}");
                assert_eq!((cpu.1.is_some(), gpu.1.is_some()), (clip.is_some(), clip.is_some()));
            }
            assert!(cpu[29].0 < cpu[0].0, "{kind:?} {clip:?}: {cpu:?}");
        }
    }
}

/// Eight steps, or five and, with all that a file holds, three more.
#[test]
fn goes_on_from_a_state() {
    for device in devices() {
        for kind in KINDS {
            let mut whole = Training::new(&device, kind, Some(0.5));
            (0..5).for_each(|_| _ = whole.step());
            let (arrays, state) = (whole.parameters.arrays().unwrap(), whole.optimizer.state().unwrap());
            let mut resumed = Training::new(&device, kind, Some(0.5));
            resumed.parameters.load(&arrays).unwrap();
            // The optimizer is made of what the parameters are then.
            resumed.optimizer = Optimizer::new(&resumed.parameters, &whole.optimizer.options, whole.optimizer.schedule, Some(0.5)).unwrap();
            resumed.optimizer.load(&state).unwrap();
            assert_eq!(resumed.optimizer.steps(), 5);
            for _ in 0..3 {
                assert_eq!(whole.step(), resumed.step());
            }
            assert_eq!(whole.parameters.arrays().unwrap(), resumed.parameters.arrays().unwrap());
            assert_eq!(whole.optimizer.state().unwrap(), resumed.optimizer.state().unwrap());
        }
    }
}

#[test]
fn wrong_states_and_missing_gradients_are_errors() {
    for device in devices() {
        let mut training = Training::new(&device, (Kind::Adam, 0.0), None);
        let missing = training.optimizer.step().unwrap_err().to_string();
        assert!(missing.contains("'a.bias' has no gradient"), "{missing}");
        if device.gpu().is_some() {
            let mut loaded = Training::new(&device, (Kind::Adam, 0.0), None);
            loaded.parameters.load(&training.parameters.arrays().unwrap()).unwrap();
            let x = device.constant(normal(1, &[1, 3], 1.0)).unwrap();
            let y = loaded.layers[1].forward(&loaded.layers[0].forward(&x).unwrap()).unwrap();
            y.sum(None).unwrap().backward().unwrap();
            assert!(loaded.optimizer.step().unwrap_err().to_string().contains("load first"));
        }
        let state = training.optimizer.state().unwrap();
        let mut less = state.clone();
        less.remove("v.a.weight");
        assert!(training.optimizer.load(&less).unwrap_err().to_string().contains("'v.a.weight' is missing"));
        let mut more = state.clone();
        more.insert("w".into(), Array::f32(&[1], vec![0.0]));
        assert!(training.optimizer.load(&more).is_err());
        let mut other = state;
        other.insert("m.a.bias".into(), Array::f32(&[4], vec![0.0; 4]));
        assert!(matches!(training.optimizer.load(&other), Err(Error::Shape { .. })));
        let options = OptimizerOptions { lr: -1.0, ..Default::default() };
        assert!(Optimizer::new(&training.parameters, &options, Schedule::default(), None).is_err());
        assert!(Optimizer::new(&training.parameters, &OptimizerOptions::default(), Schedule::default(), Some(f64::NAN)).is_err());
    }
}
