//! The simulated year at full size: `cargo run --release -p certd --example year -- [DOMAINS] [DAYS]`, 10,000 and 365
//! if nothing is said. The store lies in the folder for temporary files: `TMPDIR=/dev/shm` spares the disk.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not as it should be ends the run")]

use std::env::args;

#[path = "../tests/year/world.rs"]
mod world;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let domains = args().nth(1).map_or(Ok(10_000), |text| text.parse())?;
    let days = args().nth(2).map_or(Ok(365), |text| text.parse())?;
    println!("{}", world::live_through(domains, days, (world::STEPS.0, world::DAY * 10)).await);
    Ok(())
}
