//! Times that are written as numbers.

/// `number * 10^power`, rounded down, if it is a decimal number, fits, and has no more digits than can be had exactly.
pub(super) fn scaled(number: &str, power: i32) -> Option<i64> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (whole, sign) = whole.strip_prefix('-').map_or((whole, 1), |whole| (whole, -1));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = whole.bytes().chain(fraction.bytes());
    let magnitude = digits.into_iter().try_fold(0_i128, |value, digit| {
        value.checked_mul(10)?.checked_add(i128::from(char::from(digit).to_digit(10)?))
    })?;
    let value = sign * magnitude;
    let power = power.checked_add(exponent.parse().ok()?)?.checked_sub(fraction.len().try_into().ok()?)?;
    let scale = 10_i128.checked_pow(power.unsigned_abs());
    let scaled = match (value, scale) {
        (0, _) => 0,
        (_, Some(scale)) if power >= 0 => value.checked_mul(scale)?,
        (_, Some(scale)) => value.div_euclid(scale),
        (_, None) if power >= 0 => return None,
        // Nearer to zero than any unit.
        (_, None) => value.signum().min(0),
    };
    scaled.try_into().ok()
}
