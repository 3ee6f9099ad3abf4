//! What the numbers of a public key have to be before a signature is believed of it. Whose numbers they are is for others to ask.

use p256::elliptic_curve::sec1::FromSec1Point as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, Error, PublicKey};

use super::ids::IdError;

/// Bytes of a coordinate on P-256 (RFC 7518 section 6.2.1.2).
const COORDINATE: usize = 32;
/// Bits of a modulus. RFC 7518 section 3.3 asks for the fewest.
const MODULUS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Modulus and exponent, big-endian, without leading zeros.
pub type RsaNumbers = (Box<[u8]>, Box<[u8]>);

/// The point that an EC key on P-256 names, uncompressed (SEC 1 section 2.3.3).
///
/// # Errors
/// When a coordinate has not its length, or there is no such point on the curve.
pub fn p256_point(x: &[u8], y: &[u8]) -> Result<[u8; 1 + 2 * COORDINATE], IdError> {
    if x.len() != COORDINATE || y.len() != COORDINATE {
        return Err(IdError("its x and y must be 32 bytes each"));
    }
    let mut point = [4; 1 + 2 * COORDINATE];
    point[1..=COORDINATE].copy_from_slice(x);
    point[1 + COORDINATE..].copy_from_slice(y);
    let encoded = p256::Sec1Point::from_bytes(point).ok();
    let on_curve = encoded.is_some_and(|encoded| p256::PublicKey::from_sec1_point(&encoded).is_some().into());
    on_curve.then_some(point).ok_or(IdError("its point is not on the curve"))
}

/// The numbers of an RSA key.
///
/// # Errors
/// When the modulus is too short or too long, or they are no public key.
pub fn rsa_numbers(n: &[u8], e: &[u8]) -> Result<RsaNumbers, IdError> {
    // The library's limits count bits; whatever is longer than any key is not even read.
    if n.len() > MODULUS.end() / 8 + 1 || e.len() > n.len() {
        return Err(IdError("its modulus is longer than 8192 bits, or its exponent longer than that"));
    }
    let number = BoxedUint::from_be_slice_vartime;
    let key = PublicKey::new_with_size_limits(number(n), number(e), MODULUS).map_err(|error| match error {
        Error::ModulusTooSmall => IdError("its modulus is shorter than 2048 bits"),
        Error::ModulusTooLarge => IdError("its modulus is longer than 8192 bits"),
        _ => IdError("its modulus and exponent are no RSA key"),
    })?;
    Ok((key.n_bytes(), key.e_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points() {
        let generator = p256::PublicKey::from_secret_scalar(&p256::NonZeroScalar::from_uint(p256::U256::ONE).unwrap());
        let bytes = generator.to_sec1_bytes();
        let (x, y) = (&bytes[1..33], &bytes[33..]);
        assert_eq!(p256_point(x, y).unwrap().as_slice(), &*bytes);
        assert_eq!(p256_point(y, x).unwrap_err().0, "its point is not on the curve");
        assert!(p256_point(&[0; 32], &[0; 32]).is_err(), "the identity");
        for (x, y) in [(&x[1..], y), (x, &y[1..]), (&[], &[]), (x, &[y, &[0]].concat())] {
            assert_eq!(p256_point(x, y).unwrap_err().0, "its x and y must be 32 bytes each");
        }
    }

    #[test]
    fn moduli_and_exponents() {
        let odd = |bytes: usize| vec![0xff; bytes];
        let f4 = [1, 0, 1].as_slice();
        let (n, e) = rsa_numbers(&[vec![0], odd(256)].concat(), &[0, 1, 0, 1]).unwrap();
        assert_eq!((n.len(), &*e), (256, f4), "zeros in front say nothing");
        for (n, e, problem) in [
            (odd(255), f4, "its modulus is shorter than 2048 bits"),
            ([vec![0x7f], odd(255)].concat(), f4, "its modulus is shorter than 2048 bits"),
            ([vec![0; 128], odd(128)].concat(), f4, "its modulus is shorter than 2048 bits"),
            ([vec![1], odd(1024)].concat(), f4, "its modulus is longer than 8192 bits"),
            (odd(1026), f4, "its modulus is longer than 8192 bits, or its exponent longer than that"),
            (odd(256), &[0xff; 257], "its modulus is longer than 8192 bits, or its exponent longer than that"),
            ([odd(255), vec![0xfe]].concat(), f4, "its modulus and exponent are no RSA key"),
            (odd(256), &[1], "its modulus and exponent are no RSA key"),
            (odd(256), &[2], "its modulus and exponent are no RSA key"),
            (odd(256), &[], "its modulus and exponent are no RSA key"),
            (odd(256), &[0xff; 8], "its modulus and exponent are no RSA key"),
        ] {
            assert_eq!(rsa_numbers(&n, e).map(drop).unwrap_err().0, problem, "{} bytes, {e:?}", n.len());
        }
        assert!(rsa_numbers(&[], f4).is_err() && rsa_numbers(&[], &[]).is_err());
        assert!(rsa_numbers(&odd(1024), f4).is_ok());
    }
}
