//! Limits that shards share, over the real mesh.

use super::client::Conn;
use super::house::{House, on_both};
use super::words::Ask;

/// Clients come by connections of their own, which the kernel spreads over the shards as it likes; or all by one. Either way the tenant has
/// its whole limit, and no more of it.
#[test]
fn a_tenant_has_its_whole_limit_however_its_connections_fall() {
    on_both(|mut plan| {
        plan.tenant = ", limits: {rpm: 6}".to_owned();
        for together in [true, false] {
            let house = House::open(&plan);
            let mut conn = Conn::plain(house.at);
            let mut statuses = Vec::new();
            for number in 0..9 {
                if !together {
                    conn = Conn::plain(house.at);
                }
                let answer = conn.ask(&Ask::chat("own", &format!("ask number {number}")));
                statuses.push(answer.head.status);
            }
            // One flows in every ten seconds.
            assert_eq!(statuses[..6], [200; 6], "{statuses:?}");
            let refused = statuses.iter().filter(|status| **status == 429).count();
            assert!((2..=3).contains(&refused), "{statuses:?}");
        }
    });
}
