//! Replaces an env file as the daemon does, as fast as it can, until a file appears: for the readers of the host suite.
//!
//! Usage: `replace_env_file FILE STOP`; prints how many versions it wrote a second.

use std::path::Path;
use std::time::Instant;

use tracemark::env_file::{EnvValues, publish};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, stop] = arguments.as_slice() else {
        return Err("usage: replace_env_file FILE STOP".into());
    };
    let (began, mut written) = (Instant::now(), 0_u32);
    while !Path::new(stop).exists() {
        let digit = format!("{:x}", written % 16);
        let values = EnvValues {
            model_id: format!("m-{}", digit.repeat(32)),
            name: digit.repeat(40),
            state: "active".to_owned(),
            ..EnvValues::default()
        };
        publish(Path::new(file), &values.render())?;
        written += 1;
    }
    let rate = f64::from(written) / began.elapsed().as_secs_f64();
    std::io::Write::write_all(&mut std::io::stdout(), format!("{rate:.0}\n").as_bytes())?;
    Ok(())
}
