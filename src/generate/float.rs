//! Logarithm and exponential, the same to the last bit everywhere.
//!
//! `f64::ln` and `f64::powf` are the platform's, and platforms differ in the last bit: enough to send one draw in
//! 10¹⁵ to another key, and a golden file astray. Here are only additions, multiplications and divisions, which IEEE 754
//! rounds exactly and which Rust neither reorders nor fuses. They are right to some 10⁻¹⁵, ample for probabilities.

use std::f64::consts::{LN_2, LOG2_E, SQRT_2};

/// 2·artanh(z) = ln((1 + z)/(1 − z)) as a power series, for |z| ≤ 0.18.
fn twice_artanh(z: f64) -> f64 {
    let square = z * z;
    // The first term left out, z²⁴/25, is below 10⁻¹⁹ even at the end of the range.
    let mut sum = 0.0;
    for odd in (1..=23).rev().step_by(2) {
        sum = sum * square + 1.0 / f64::from(odd);
    }
    2.0 * z * sum
}

/// The natural logarithm of a normal number above 0.
pub(super) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    f64::from(exponent) * LN_2 + twice_artanh((mantissa - 1.0) / (mantissa + 1.0))
}

/// e to the power of `x`, for `x` up to 709; 0 where the result would be less than the least normal number.
pub(super) fn exp(x: f64) -> f64 {
    // LN_2 in two parts, of which the first is exact times any exponent.
    const HIGH: f64 = 0.693_147_180_369_123_8;
    const LOW: f64 = 1.908_214_929_270_587_7e-10;
    let exponent = (x * LOG2_E + 0.5).floor();
    if exponent < -1022.0 {
        return 0.0;
    }
    let exponent = exponent.min(1023.0);
    let rest = (x - exponent * HIGH) - exponent * LOW;
    (1.0 + rest * exp_m1_over(rest)) * f64::from_bits(((1023 + exponent as i64) as u64) << 52)
}

/// (eˣ − 1)/x as a power series, for |x| ≤ 0.5; 1 at 0.
fn exp_m1_over(x: f64) -> f64 {
    let mut sum = 1.0;
    for n in (2..=16).rev() {
        sum = 1.0 + sum * x / f64::from(n);
    }
    sum
}

/// (eˣ − 1)/x without loss of digits near 0, where it is 1.
pub(super) fn exp_m1_ratio(x: f64) -> f64 {
    if x.abs() <= 0.5 { exp_m1_over(x) } else { (exp(x) - 1.0) / x }
}

/// ln(1 + x)/x without loss of digits near 0, where it is 1; for x above −1.
pub(super) fn ln_1p_ratio(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else if x.abs() <= 0.3 {
        twice_artanh(x / (2.0 + x)) / x
    } else {
        ln(1.0 + x) / x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ours: f64, theirs: f64) {
        assert!((ours - theirs).abs() <= 4e-15 * theirs.abs().max(1e-300), "{ours:e} for {theirs:e}");
    }

    #[test]
    fn agrees_with_the_platform() {
        for n in 1..20_000 {
            let x = f64::from(n) * 0.37;
            close(ln(x), x.ln());
            close(ln(x * 1e6), (x * 1e6).ln());
            let small = f64::from(n - 10_000) * 0.002;
            close(exp(small), small.exp());
            let ratio = f64::from(n) * 1e-4;
            close(exp_m1_ratio(ratio), ratio.exp_m1() / ratio);
            close(exp_m1_ratio(-ratio), (-ratio).exp_m1() / -ratio);
            close(ln_1p_ratio(ratio), ratio.ln_1p() / ratio);
            close(ln_1p_ratio(-ratio * 0.49), (-ratio * 0.49).ln_1p() / (-ratio * 0.49));
        }
        assert_eq!((ln(1.0), exp(0.0), exp(-800.0)), (0.0, 1.0, 0.0));
        assert_eq!((exp_m1_ratio(0.0), ln_1p_ratio(0.0)), (1.0, 1.0));
        close(exp_m1_ratio(1e-12), 1.0 + 0.5e-12);
    }
}
