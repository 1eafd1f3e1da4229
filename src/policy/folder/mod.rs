//! Policy folders: read as a whole, and followed.

pub mod live;
pub mod load;
