//! The entropy driver.

use driver_tests::virtio_drivers::device::rng::VirtIORng;
use driver_tests::virtio_drivers::transport::InterruptStatus;
use driver_tests::{Board, Guest, GuestHal, on_every_board};
use virtio_bus::VirtioProps;
use virtio_rng::{HostRandom, Rng, RngProps};

on_every_board!(
    gives_entropy,
    goes_round_the_ring,
    interrupts,
    can_be_bound_again_and_again,
    keeps_to_its_quota,
);

fn device(props: &RngProps) -> Rng<HostRandom> {
    Rng::new(props, HostRandom).expect("entropy device")
}

fn bind<B: Board>(board: &B) -> VirtIORng<GuestHal, B::Driver> {
    VirtIORng::new(board.driver()).expect("entropy driver")
}

fn gives_entropy<B: Board>() {
    let guest = Guest::new();
    let board = B::new(&guest, device(&RngProps::default()));
    let mut rng = bind(&board);
    let mut samples = [[0; 32]; 4];
    for sample in &mut samples {
        assert_eq!(rng.request_entropy(sample), Ok(32));
    }
    for (n, sample) in samples.iter().enumerate() {
        assert!(!samples[..n].contains(sample) && sample != &[0; 32]);
    }
}

fn goes_round_the_ring<B: Board>() {
    let guest = Guest::new();
    let board = B::new(&guest, device(&RngProps::default()));
    let mut rng = bind(&board);
    let mut bytes = vec![0; 10_000];
    for n in 0..500 {
        let len = 1 + n * 37 % bytes.len();
        let got = rng.request_entropy(&mut bytes[..len]).expect("entropy");
        assert!(got > 0 && got <= len, "{got} of {len}");
    }
}

fn interrupts<B: Board>() {
    let guest = Guest::new();
    // With it, a driver that polls may have moved on before the device asks what it waits for: it
    // is then owed no interrupt.
    let common = VirtioProps::default().event_idx(false);
    let board = B::offering(&guest, device(&RngProps::default()), &common);
    let mut rng = bind(&board);
    rng.enable_interrupts();
    rng.request_entropy(&mut [0; 8]).expect("entropy");
    // The used buffer may be seen before the interrupt that follows it.
    let mut polls = (0..1000).map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        rng.ack_interrupt()
    });
    let first = polls.find(|status| !status.is_empty());
    assert!(first == Some(InterruptStatus::QUEUE_INTERRUPT));
    assert!(rng.ack_interrupt().is_empty(), "acknowledged");
}

fn can_be_bound_again_and_again<B: Board>() {
    let guest = Guest::new();
    let board = B::new(&guest, device(&RngProps::default()));
    for _ in 0..50 {
        let mut rng = bind(&board);
        assert_eq!(rng.request_entropy(&mut [0; 16]), Ok(16));
        drop(rng);
        assert_eq!(guest.pages_in_use(), 0);
    }
}

fn keeps_to_its_quota<B: Board>() {
    let guest = Guest::new();
    let board = B::new(
        &guest,
        device(&RngProps::default().max_bytes(16).period(50)),
    );
    let mut rng = bind(&board);
    let start = std::time::Instant::now();
    let mut got = 0;
    while got < 64 {
        got += rng.request_entropy(&mut [0; 64]).expect("entropy");
    }
    assert!(
        start.elapsed().as_millis() >= 140,
        "four periods' worth in {:?}",
        start.elapsed()
    );
}
