//! Who is calling: credentials in, a [`Principal`] out.

mod principal;

pub use principal::Principal;
