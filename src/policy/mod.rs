//! Decisions: functions of values; the time is an argument. Cannot see JSON, providers' names or sockets. In reading order.

pub mod bill;
