//! The thread for what runs beside requests: metrics, the hand-over of usage, housekeeping.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use super::Shared;
use super::signals::{Flags, wait_for};
use crate::listen::Bound;
use crate::probe;
use crate::usage::UsageSink;

/// Time between two hand-overs of usage: what a kill may lose.
const HAND_OVER: Duration = Duration::from_secs(1);
/// Time between two looks for what has expired.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// What runs beside requests, until the edge stops.
pub(super) async fn run(edge: Arc<Shared>, usage: Arc<dyn UsageSink>, metrics: Option<Bound>, flags: Flags) {
    let Flags { mut stopped, mut handed_over, .. } = flags;
    let listener = metrics.and_then(|bound| TcpListener::from_std(bound.socket).ok());
    if let Some(listener) = listener {
        let answers = probe::serve(listener, Arc::clone(&edge.state));
        tokio::spawn(async move {
            tokio::select! { () = answers => {}, () = wait_for(&mut handed_over) => {} }
        });
    }
    let waiting = Arc::clone(&edge);
    tokio::spawn(async move { waiting.waits.run().await });
    let mut hand_over = interval(HAND_OVER);
    hand_over.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut housekeeping = interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            () = wait_for(&mut stopped) => return,
            _ = hand_over.tick() => edge.state.ledger.hand_over(&*usage),
            _ = housekeeping.tick() => {
                edge.state.certificates.note_expired();
                edge.state.drop_expired_challenges();
            }
        }
    }
}
