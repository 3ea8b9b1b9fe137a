pub mod errors;
pub mod events;
pub mod request;
pub mod socket;
