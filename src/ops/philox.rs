//! Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
//!
//! Dropout draws one number for each element from (seed, element index) and the backward draws it again, so that nothing
//! is stored. `shaders/lib/random.wgsl` computes the same bits. Seeded test data comes from here too.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The four random words of one counter under one key.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let p0 = MULTIPLIERS[0] as u64 * counter[0] as u64;
        let p1 = MULTIPLIERS[1] as u64 * counter[2] as u64;
        counter = [(p1 >> 32) as u32 ^ counter[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ counter[3] ^ key[1], p0 as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// The random word of element `index` under `seed`: word `index % 4` of counter `index / 4`.
pub fn element(seed: u64, index: u64) -> u32 {
    let block = index / 4;
    philox4x32([block as u32, (block >> 32) as u32, 0, 0], [seed as u32, (seed >> 32) as u32])[(index % 4) as usize]
}

/// A word is kept under dropout with probability `p` when it is at or above this value: p·2³², rounded down.
/// `p` below 1 never reaches 2³², so at least one word in 2³² is kept; `p >= 1` is refused by the operations.
pub fn drop_threshold(p: f32) -> u32 {
    (p as f64 * 4_294_967_296.0) as u32
}

/// A seeded stream of numbers for test data.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    next: u64,
}

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Rng { seed, next: 0 }
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.next += 1;
        element(self.seed, self.next - 1)
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() as f64 + 0.5) / 4_294_967_296.0
    }

    /// Uniform in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.bits() as u64 * n as u64) >> 32) as usize
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
    }

    /// Standard-normal elements.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.normal()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that Random123 ships (kat_vectors, philox4x32 10).
    #[test]
    fn known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox4x32(pi, [0xa409_3822, 0x299f_31d0]), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }
}
