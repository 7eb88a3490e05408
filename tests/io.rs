//! Tensor files: what is written comes back, what other programs wrote is understood, and no file, however it is broken,
//! does more than return an error of one line.
#![cfg(feature = "cli")]

#[path = "../fuzz/src/lib.rs"]
mod hostile;

use std::path::{Path, PathBuf};

use wattn::ops::Arrays;
use wattn::{Array, Error, f16, io};

/// A directory of the test's own, removed with it.
struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Dir(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Reads `bytes` as a file of that name, within the memory that they warrant.
    fn read(&self, name: &str, bytes: &[u8]) -> Result<Arrays, Error> {
        hostile::run(if name.ends_with("npz") { "npz" } else { "safetensors" }, bytes);
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        io::read(&path)
    }

    /// The message about `bytes`, which must be refused as a broken file, in one line.
    #[track_caller]
    fn refused(&self, name: &str, bytes: &[u8]) -> String {
        match self.read(name, bytes) {
            Err(Error::Format { message, .. }) => {
                assert!(!message.contains('\n'), "{message}");
                message
            }
            other => panic!("expected a format error, got {other:?}"),
        }
    }
}

fn arrays() -> Arrays {
    let pairs = [
        ("q", Array::f32(&[2, 3], vec![1.0, -0.0, f32::NAN, f32::INFINITY, 1e-45, 3.5])),
        ("half", Array::f16(&[3], [1.0, 65504.0, -0.5].map(f16::from_f32).to_vec())),
        ("ids", Array::i32(&[1, 2], vec![i32::MIN, 7])),
        ("mask", Array::u8(&[5], vec![0, 1, 1, 0, 255])),
        ("scalar", Array::f32(&[], vec![2.5])),
        ("empty", Array::f32(&[2, 0, 3], vec![])),
    ];
    pairs.into_iter().map(|(name, array)| (name.to_string(), array)).collect()
}

fn assert_same(got: &Arrays, expected: &Arrays) {
    assert!(got.keys().eq(expected.keys()), "{:?}", got.keys());
    for (name, array) in expected {
        assert_eq!((got[name].shape(), got[name].dtype()), (array.shape(), array.dtype()), "{name}");
        // By bytes, so that NaN and -0 count.
        assert_eq!(got[name].bytes(), array.bytes(), "{name}");
    }
}

#[test]
fn what_is_written_comes_back_and_twice_the_same() {
    let dir = Dir::new();
    for name in ["a.safetensors", "a.npz", "UPPER.NPZ"] {
        let path = dir.path(name);
        io::write(&path, &arrays()).unwrap();
        assert_same(&io::read(&path).unwrap(), &arrays());
        let first = std::fs::read(&path).unwrap();
        io::write(&path, &arrays()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first, "{name}");
    }
    assert_eq!(std::fs::read_dir(dir.0.path()).unwrap().count(), 3, "a temporary file was left behind");
}

#[test]
fn no_tensor_at_all_is_a_file_too() {
    let dir = Dir::new();
    for name in ["none.safetensors", "none.npz"] {
        io::write(&dir.path(name), &Arrays::new()).unwrap();
        assert!(io::read(&dir.path(name)).unwrap().is_empty());
    }
}

#[test]
fn numpy_s_files_are_understood() {
    let got = io::read(Path::new("tests/data/numpy.npz")).unwrap();
    let a: Vec<f32> = (0..24).map(|x| x as f32).collect();
    let expected = [
        ("c", Array::f32(&[2, 3, 4], a.clone())),
        ("fortran", Array::f32(&[2, 3, 4], a.clone())),
        ("big", Array::f32(&[2, 3, 4], a.clone())),
        ("half", Array::f16(&[2, 3, 4], a.iter().map(|&x| f16::from_f32(x)).collect())),
        ("long", Array::i32(&[2], vec![-1, i32::MAX])),
        ("int", Array::i32(&[2], vec![-5, 6])),
        ("byte", Array::u8(&[2], vec![0, 255])),
        ("keep", Array::u8(&[2], vec![1, 0])),
        ("scalar", Array::f32(&[], vec![2.5])),
        ("empty", Array::f32(&[2, 0], vec![])),
    ];
    assert_same(&got, &expected.into_iter().map(|(name, array)| (name.to_string(), array)).collect());
    let error = io::read(Path::new("tests/data/double.npz")).unwrap_err().to_string();
    assert_eq!(
        error,
        "tests/data/double.npz: tensor \"q\" has NumPy's type \"<f8\"; f32, f16, i32, i64, u8 and bool are accepted (f4, f2, i4, i8, u1, b1)"
    );
}

#[test]
fn paths_that_hold_no_tensors() {
    let dir = Dir::new();
    assert!(matches!(io::read(&dir.path("absent.npz")), Err(Error::Io { .. })));
    assert!(matches!(io::read(&dir.path("x.txt")), Err(Error::Format { .. })));
    assert!(matches!(io::write(&dir.path("x.txt"), &arrays()), Err(Error::Format { .. })));
    assert!(matches!(io::write(&dir.path("no/such/x.npz"), &arrays()), Err(Error::Io { .. })));
    assert!(matches!(io::check_writable(&dir.path("no/such/x.npz")), Err(Error::Io { .. })));
    std::fs::create_dir(dir.path("d.npz")).unwrap();
    assert!(matches!(io::read(&dir.path("d.npz")), Err(Error::Format { .. })));
    assert!(matches!(io::check_writable(&dir.path("d.npz")), Err(Error::Io { .. })));
    assert!(matches!(io::write(&dir.path("d.npz"), &arrays()), Err(Error::Io { .. })));
    assert_eq!(std::fs::read_dir(dir.0.path()).unwrap().count(), 1, "a temporary file was left behind");
}

/// Every byte of a small file changed in several ways, and the file cut at every place.
#[test]
fn damaged_files_never_do_more_than_return_an_error() {
    let dir = Dir::new();
    for name in ["a.safetensors", "a.npz"] {
        io::write(&dir.path(name), &arrays()).unwrap();
        let good = std::fs::read(dir.path(name)).unwrap();
        for at in 0..good.len() {
            dir.refused(name, &good[..at]);
            for change in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= change;
                if let Err(error) = dir.read(name, &bad) {
                    assert!(matches!(error, Error::Format { .. }) && !error.to_string().contains('\n'), "{error}");
                }
            }
        }
    }
    let good = std::fs::read("tests/data/numpy.npz").unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        let _ = dir.read("a.npz", &bad);
        dir.refused("a.npz", &good[..at]);
    }
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(std::iter::repeat_n(1, data));
    bytes
}

#[test]
fn hostile_safetensors() {
    let dir = Dir::new();
    let refused = |header: &str, data: usize, part: &str| {
        let message = dir.refused("x.safetensors", &safetensors(header, data));
        assert!(message.contains(part), "{message}");
    };
    let one =
        |dtype: &str, shape: &str, offsets: &str| format!(r#"{{"q":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#);
    refused(&one("F64", "[1]", "[0,8]"), 8, "\"q\" is f64; f32, f16");
    refused(&one("BF16", "[1]", "[0,2]"), 2, "\"q\" is bf16");
    refused(&one("F99", "[1]", "[0,2]"), 2, "unknown variant `F99`");
    refused(&one("I64", "[1]", "[0,8]"), 8, "does not fit in 32 bits");
    refused(&one("F32", "[2]", "[0,8]"), 4, "of 4; expected it to begin at 0");
    refused(&one("F32", "[1]", "[4,8]"), 8, "lie at bytes 4 to 8");
    refused(&one("F32", "[1]", "[4,0]"), 8, "lie at bytes 4 to 0");
    refused(&one("F32", "[2]", "[0,4]"), 4, "which is not what F32 of shape [2] takes");
    refused(&one("F32", "[1]", "[0,4]"), 5, "1 bytes after the last tensor");
    refused(&one("F32", "[4294967296,4294967296]", "[0,4]"), 4, "product is too large");
    refused(&one("U8", "[18446744073709551615]", "[0,18446744073709551615]"), 4, "of 4");
    refused(&one("F32", "[0,9223372036854775807,9223372036854775807]", "[0,0]"), 0, "product is too large");
    refused(&one("F32", "[-1]", "[0,4]"), 4, "invalid value");
    refused(&one("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "17 dimensions");
    refused(&one("F4", "[3]", "[0,1]"), 1, "is not what F4");
    refused("{", 0, "header: EOF");
    refused("[]", 0, "an object of tensors");
    refused("{}{}", 0, "trailing characters");
    refused("\u{0}", 0, "header:");
    refused(&"[".repeat(100_000), 0, "header:");
    refused(&format!("{{\"__metadata__\":{}", "[".repeat(100_000)), 0, "over 8 brackets are open");
    refused("{\"__metadata__\":[", 0, "header: EOF");
    let tensor = |name: &str, offsets: &str| format!(r#""{name}":{{"dtype":"U8","shape":[4],"data_offsets":{offsets}}}"#);
    refused(&format!("{{{},{}}}", tensor("q", "[0,4]"), tensor("q", "[0,4]")), 4, "two tensors are named");
    refused(&format!("{{{},{}}}", tensor("q", "[0,4]"), tensor("k", "[0,4]")), 4, "expected it to begin at 4");
    refused(&format!("{{{},{}}}", tensor("q", "[0,4]"), tensor("k", "[2,6]")), 6, "expected it to begin at 4");
    refused(&format!("{{{}}}", tensor("line\\nbreak", "[0,5]")), 5, "line\\nbreak");

    assert!(dir.refused("x.safetensors", b"").contains("0 bytes"));
    assert!(dir.refused("x.safetensors", &u64::MAX.to_le_bytes()).contains("cut short"));
    assert!(dir.refused("x.safetensors", &safetensors(&" ".repeat(9 << 20), 0)).contains("at most"));
    let metadata = format!(r#"{{"__metadata__":{{"format":"pt"}},{}}}"#, tensor("q", "[0,4]"));
    assert_eq!(dir.read("x.safetensors", &safetensors(&metadata, 4)).unwrap()["q"], Array::u8(&[4], vec![1; 4]));
}

/// A zip archive of one entry, every field as told.
struct Zip {
    name: &'static str,
    method: u16,
    size: u32,
    data: Vec<u8>,
    copies: u16,
}

impl Zip {
    fn stored(data: Vec<u8>) -> Self {
        Zip { name: "q.npy", method: 0, size: data.len() as u32, data, copies: 1 }
    }

    fn deflated(plain: &[u8]) -> Self {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        Zip { method: 8, size: plain.len() as u32, data: encoder.finish().unwrap(), ..Zip::stored(Vec::new()) }
    }

    /// The archive, with `crc` as the checksum and the directory's entry repeated `copies` times.
    fn bytes(&self, crc: u32) -> Vec<u8> {
        let name_len = (self.name.len() as u16).to_le_bytes();
        let mut shared = vec![20, 0, 0, 0];
        shared.extend(self.method.to_le_bytes());
        shared.extend([0; 4]);
        shared.extend(crc.to_le_bytes());
        shared.extend((self.data.len() as u32).to_le_bytes());
        shared.extend(self.size.to_le_bytes());
        shared.extend(name_len);
        shared.extend([0; 2]);
        let mut bytes = [&b"PK\x03\x04"[..], &shared, self.name.as_bytes(), &self.data].concat();
        let start = bytes.len() as u32;
        let entry = [&b"PK\x01\x02\x14\x00"[..], &shared, &[0; 14], self.name.as_bytes()].concat();
        for _ in 0..self.copies {
            bytes.extend(&entry);
        }
        let size = bytes.len() as u32 - start;
        bytes.extend([&b"PK\x05\x06\0\0\0\0"[..], &self.copies.to_le_bytes(), &self.copies.to_le_bytes()].concat());
        bytes.extend([&size.to_le_bytes()[..], &start.to_le_bytes(), &[0; 2]].concat());
        bytes
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn npy(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(std::iter::repeat_n(0, data));
    bytes
}

#[test]
fn hostile_npy_headers() {
    let dir = Dir::new();
    let refused = |bytes: Vec<u8>, part: &str| {
        let sum = crc(&bytes);
        let message = dir.refused("x.npz", &Zip::stored(bytes).bytes(sum));
        assert!(message.contains(part), "{message}");
    };
    let header = |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    refused(npy(&header("'<f4'", "(2,)"), 4), "takes 8 bytes; its entry holds 4");
    refused(npy(&header("'<f4'", "(2,)"), 12), "takes 8 bytes; its entry holds 12");
    refused(npy(&header("'<f4'", "(4294967296, 4294967296)"), 4), "product is too large");
    refused(npy(&header("'<f4'", "(99999999999999999999999,)"), 4), "a size");
    refused(npy(&header("'<f4'", "(-1,)"), 4), "a size");
    refused(npy(&header("'<f4'", &"(".repeat(60_000)), 4), "a size");
    refused(npy(&header("'<f4'", "(1;)"), 4), "')' was expected");
    refused(npy(&header("'<f4'", "(1"), 4), "a size");
    refused(npy(&header("'<f8'", "(1,)"), 8), "\"<f8\"");
    refused(npy(&header("'<V2'", "(1,)"), 8), "\"<V2\"");
    refused(npy(&header("'|O'", "(1,)"), 8), "\"|O\"");
    refused(npy(&header("''", "(1,)"), 8), "\"\"");
    refused(npy(&header("'é4'", "(1,)"), 8), "é4");
    refused(npy(&header("[('a', '<f4')]", "(1,)"), 4), "a string");
    refused(npy("", 4), "'{' was expected");
    refused(npy("{}", 4), "lacks one of");
    refused(npy("{'descr': '<f4', 'descr': '<f4'}", 4), "twice");
    refused(npy("{'descr': '<f4", 4), "closed string");
    refused(npy("{'pickle': True}", 4), "unknown key");
    refused(npy(&(header("'<f4'", "(1,)") + "x"), 4), "goes on after its end");
    refused(b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "at most");
    refused(b"\x93NUMPY\x02\x00\xff\x00\x00\x00".to_vec(), "ends inside its header");
    refused(b"\x93NUMPY\x09\x00\xff\x00".to_vec(), "version 9.0");
    refused(b"\x93NUM".to_vec(), "not in NumPy's");
    refused(b"not an array".to_vec(), "not in NumPy's");
}

#[test]
fn hostile_zip_archives() {
    let dir = Dir::new();
    let refused = |bytes: Vec<u8>, part: &str| {
        let message = dir.refused("x.npz", &bytes);
        assert!(message.contains(part), "{message}");
    };
    let array = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (100000,), }\n", 400_000);
    let sum = crc(&array);
    let good = Zip::deflated(&array);
    assert!(good.data.len() < 1000, "not much of a bomb");
    assert_eq!(dir.read("x.npz", &good.bytes(sum)).unwrap()["q"].len(), 100_000);

    refused(good.bytes(sum ^ 1), "wrong checksum");
    refused(Zip { size: u32::MAX - 1, ..Zip::deflated(&array) }.bytes(sum), "cannot decompress");
    refused(Zip { size: u32::MAX, ..Zip::deflated(&array) }.bytes(sum), "64-bit sizes");
    refused(Zip { size: 7, ..Zip::stored(array.clone()) }.bytes(sum), "said to be 7");
    refused(Zip { method: 12, ..Zip::stored(array.clone()) }.bytes(sum), "zip method 12");
    refused(Zip { name: "q.txt", ..Zip::stored(array.clone()) }.bytes(sum), "does not end in .npy");
    refused(Zip { copies: 2, ..Zip::stored(array.clone()) }.bytes(sum), "two entries are named");
    refused(Zip { data: vec![0x55; 1000], ..Zip::deflated(&array) }.bytes(sum), "");
    refused(Zip { data: good.data[..good.data.len() - 9].to_vec(), ..Zip::deflated(&array) }.bytes(sum), "ends before");

    // The array's own header declares less than what the entry decompresses to, and the entry says the same as it.
    let mut bomb = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", 4);
    let declared = bomb.len() as u32;
    bomb.extend([0; 100_000]);
    refused(Zip { size: declared, ..Zip::deflated(&bomb) }.bytes(crc(&bomb)), "goes on after");

    let mut moved = good.bytes(sum);
    moved.push(0);
    refused(moved, "no zip archive");
    let mut shifted = vec![0];
    shifted.extend(good.bytes(sum));
    refused(shifted, "not where the end of the file says");
    refused(Vec::new(), "no zip archive");
    refused(vec![0; 100], "no zip archive");
}

/// Headers that would have the parser take many times their size. `Dir::read` holds each to the memory that it warrants.
#[test]
fn large_headers_of_safetensors() {
    let dir = Dir::new();
    let refused = |header: &str, part: &str| {
        let message = dir.refused("x.safetensors", &safetensors(header, 0));
        assert!(message.contains(part), "{message}");
    };
    let tensor = |name: &str, shape: &str| format!(r#""{name}":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,0]}}"#);
    let many = |n: usize| format!("{{{}}}", (0..n).map(|i| tensor(&i.to_string(), "0")).collect::<Vec<_>>().join(","));
    refused(&many(4097), "more than 4096 tensors");
    assert_eq!(dir.read("x.safetensors", &safetensors(&many(4096), 0)).unwrap().len(), 4096);
    refused(&format!("{{{}}}", tensor("q", &vec!["1"; 400_000].join(","))), "is described in 800");
    refused(&format!("{{{}}}", tensor(&"q".repeat(1025), "0")), "name is over 1024 bytes");
    for escaped in ["\\n", "\\\"", "\\u0001"] {
        let long = escaped.repeat(400_000);
        refused(&format!("{{{}}}", tensor(&long, "0")), "name is over 1024 bytes");
        refused(&format!("{{\"{long}"), "name is over 1024 bytes");
        refused(&format!("\"{long}\""), "name is over 1024 bytes");
        refused(&format!("{{\"q\":{{\"dtype\":\"{long}\"}}}}"), "\"q\" is described in");
        // Notes may be as long as they like.
        let notes = format!("{{\"__metadata__\":{{\"notes\":\"{long}\"}},{}}}", tensor("q", "0"));
        assert_eq!(dir.read("x.safetensors", &safetensors(&notes, 0)).unwrap().len(), 1);
    }
    let longest = "q".repeat(1024);
    assert!(dir.read("x.safetensors", &safetensors(&format!("{{{}}}", tensor(&longest, "0")), 0)).unwrap().contains_key(&longest));
}

/// Archives that say, or really are, many times their size.
#[test]
fn zip_bombs() {
    let dir = Dir::new();
    let refused = |bytes: Vec<u8>, part: &str| {
        let message = dir.refused("x.npz", &bytes);
        assert!(message.contains(part), "{message}");
    };
    // 40 MB of zeros in 40 KB are what they say, and so they are read; one bit of damage, and none of it is kept.
    let header = |fortran: &str| format!("{{'descr': '<f4', 'fortran_order': {fortran}, 'shape': (10000, 1000), }}\n");
    let zeros = npy(&header("False"), 40_000_000);
    let bomb = Zip::deflated(&zeros);
    assert!(bomb.data.len() < 50_000);
    assert_eq!(dir.read("x.npz", &bomb.bytes(crc(&zeros))).unwrap()["q"].len(), 10_000_000);
    refused(bomb.bytes(crc(&zeros) ^ 1), "wrong checksum");
    let fortran = npy(&header("True"), 40_000_000);
    assert_eq!(dir.read("x.npz", &Zip::deflated(&fortran).bytes(crc(&fortran))).unwrap()["q"].len(), 10_000_000);
    // A thousand times as much is declared as there is.
    let lie = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (250000,), }\n", 40_000);
    let size = (lie.len() - 40_000 + 1_000_000) as u32;
    refused(Zip { size, data: Zip::deflated(&lie).data.repeat(40), ..Zip::deflated(&lie) }.bytes(crc(&lie)), "ends before");
    // A long integer that does not fit, at the very end.
    let mut long = npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1000001,), }\n", 8_000_000);
    long.extend(i64::MAX.to_le_bytes());
    refused(Zip::deflated(&long).bytes(crc(&long)), "does not fit in 32 bits");
    refused(Zip { copies: 4097, ..Zip::stored(Vec::new()) }.bytes(0), "4097 entries; at most 4096");
    refused(Zip { name: "q".repeat(1025).leak(), ..Zip::stored(Vec::new()) }.bytes(0), "name is 1025 bytes long");
}
