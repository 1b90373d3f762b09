//! To come.
statements! {}
