//! The HTTP edge.
//!
//! The account API behaves like Django REST framework 3.18 with its JSON renderer, down to the
//! texts of refusals; what of that needs no actor is here as plain functions over plain values.

pub mod body;
pub mod negotiate;
pub mod validate;

mod header;
